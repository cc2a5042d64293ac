"""RabbitMQ: the queues of Aristote Dispatcher, for it alone; it begins empty at each start.

Every queue of its virtual host ``/`` is a model to Aristote's sender, which lists them through the
management plugin.

Settings: https://www.rabbitmq.com/docs/configure
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.render import TEMPLATES, render
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretName, SecretText
from deploy.units import MIB

IMAGE = "rabbitmq"
PORT, MANAGEMENT_PORT = 5672, 15672
HOME = PurePosixPath("/var/lib/rabbitmq")
"""Where the volume is, in the official image and in ours."""
CONFIG = PurePosixPath("/etc/atelier")
USER = "aristote"
START, PLUGINS, SETTINGS = "start.sh", "enabled_plugins", "rabbitmq.conf"
START_SECONDS = 180


def container_name(context: ServiceContext) -> str:
    """Name of its container, which is also its DNS name on the deployment's network."""
    return context.container_name(IMAGE)


def variables(context: ServiceContext) -> dict[str, str | SecretText]:
    """How Aristote's programs reach it; the password is part of an address, and is not escaped."""
    return {
        "RABBITMQ_HOST": container_name(context),
        "RABBITMQ_PORT": str(PORT),
        "RABBITMQ_MANAGEMENT_PORT": str(MANAGEMENT_PORT),
        "RABBITMQ_USER": USER,
        "RABBITMQ_PASSWORD": SecretText.of(SecretName.RABBITMQ_PASSWORD),
    }


def units(context: ServiceContext) -> Iterator[Unit]:
    """The broker, where Aristote is the router; it runs where that does."""
    router = context.plan.router_of("aristote")
    if router is None:
        return
    memory = router.spec.dispatch.rabbitmq_memory_limit
    config = context.config_tree(router.host, IMAGE, _files(memory))
    yield Unit(
        host=router.host,
        tier=Tier.STORE,
        serves="queues",
        image_name=IMAGE,
        start_timeout_seconds=START_SECONDS,
        config=config,
        runs=context.container(
            container_name(context),
            IMAGE,
            IMAGE,
            command=("sh", str(CONFIG / START)),
            env={
                "HOME": str(HOME),
                # else the name of the node is that of its container, which changes
                "RABBITMQ_NODENAME": "rabbit@localhost",
                "RABBITMQ_CONFIG_FILE": str(CONFIG / SETTINGS),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(CONFIG / PLUGINS),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_DEFAULT_USER": USER,
                "RABBITMQ_DEFAULT_PASS": SecretText.of(SecretName.RABBITMQ_PASSWORD),
            },
            mounts={
                HOME: Mount(kind="volume", source=f"{context.plan.name}-{IMAGE}"),
                CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
            },
            memory_bytes=memory,
            stop_timeout_seconds=30,
            healthcheck=HealthCheck(
                # the last of its ports to answer; this page asks for no login
                command=http_check(MANAGEMENT_PORT, "/"),
                start_period_seconds=START_SECONDS,
            ),
        ),
    )


def _files(memory_bytes: int) -> dict[str, ConfigFile]:
    folder = TEMPLATES / IMAGE
    settings = render(
        f"{IMAGE}/{SETTINGS}.j2",
        port=PORT,
        management_port=MANAGEMENT_PORT,
        memory_mib=memory_bytes // 2 // MIB,
    )
    return {
        SETTINGS: ConfigFile(content=settings),
        PLUGINS: ConfigFile(content=(folder / PLUGINS).read_text("utf-8")),
        START: ConfigFile(content=(folder / START).read_text("utf-8")),
    }
