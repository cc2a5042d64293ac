"""Valkey: what routers count together. A snapshot outlives restarts; nothing is irreplaceable.

Settings: https://valkey.io/topics/valkey.conf/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.service_plans import ValkeyPlan
from deploy.render import TEMPLATES
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.host_files import ConfigFile
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretName, SecretText

IMAGE = "valkey"
PORT = 6379
DATA = PurePosixPath("/data")
CONFIG = PurePosixPath("/etc/atelier")
START = "start.sh"
HEALTHY = f'test "$(REDISCLI_AUTH="$VALKEY_PASSWORD" valkey-cli -p {PORT} ping)" = PONG'
URL = "valkey.url"
"""Name of the secret that an operator declares."""


def url(context: ServiceContext) -> SecretText | None:
    """Where routers find it; ``None`` if there is none."""
    plan = context.plan.valkey
    if plan is None:
        return None
    if plan.host is None:
        return SecretText.of(URL)
    return SecretText(
        template=f"redis://:{{password}}@{context.container_name(IMAGE)}:{PORT}/0",
        secrets={"password": SecretName.VALKEY_PASSWORD},
    )


def units(context: ServiceContext) -> Iterator[Unit]:
    """The server, where there is one."""
    plan = context.plan.valkey
    if plan is None or plan.host is None:
        return
    start = ConfigFile(content=(TEMPLATES / IMAGE / START).read_text("utf-8"))
    config = context.config_tree(plan.host, IMAGE, {START: start})
    yield Unit(
        host=plan.host,
        tier=Tier.STORE,
        serves="routing state",
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        runs=context.container(
            context.container_name(IMAGE),
            IMAGE,
            IMAGE,
            command=("sh", str(CONFIG / START), *_settings(plan)),
            env={"VALKEY_PASSWORD": SecretText.of(SecretName.VALKEY_PASSWORD)},
            mounts={
                DATA: Mount(kind="volume", source=f"{context.plan.name}-{IMAGE}"),
                CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
            },
            memory_bytes=plan.spec.memory_limit,
            healthcheck=HealthCheck(
                command=HEALTHY,
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _settings(plan: ValkeyPlan) -> tuple[str, ...]:
    """A snapshot takes as much memory again where all of it changes meanwhile.

    Where memory is used up, what would end soonest goes first: counters of a minute and answers
    that are being written, and last of all who has logged out, which counts for days and is not
    looked at any more. Who is connected has no end, and stays.
    """
    settings = {
        "dir": str(DATA),
        "save": "300 1",
        "maxmemory": str(plan.spec.memory_limit // 2),
        "maxmemory-policy": "volatile-ttl",
    }
    return tuple(part for name, value in settings.items() for part in (f"--{name}", value))
