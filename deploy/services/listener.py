"""The listener: it has the entry's ports, and gives their sockets to HAProxy.

Docker publishes ports of one container, so that they go with it. This one stays: it never accepts a
connection and never reads what people send, and so needs no other image because of what they could
send. Each HAProxy asks it for the sockets when it starts, and reads and answers what comes to them,
in a network of its own. Where none runs, connections wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.render import TEMPLATES
from deploy.services.container import HealthCheck, Mount, Port
from deploy.services.context import ServiceContext
from deploy.services.unit import Tier, Unit
from deploy.spec.entry import EntrySpec
from deploy.units import MIB

SERVICE, IMAGE = "listener", "python"
PLAIN_PORT, TLS_PORT = 8080, 8443
"""Where it listens in its container."""
DIRECTORY = PurePosixPath("/run/listener")
"""The volume that it shares with HAProxy, in both."""
SOCKET = DIRECTORY / "sockets"
"""Where HAProxy asks for the sockets."""
MEMORY_BYTES = 64 * MIB
START_TIMEOUT_SECONDS = 60


def container_name(context: ServiceContext) -> str:
    """Name of its container."""
    return context.container_name(SERVICE)


def shared_mount(context: ServiceContext, *, read_only: bool) -> dict[PurePosixPath, Mount]:
    """Where the sockets are asked for."""
    source = f"{context.plan.name}-{SERVICE}"
    return {DIRECTORY: Mount(kind="volume", source=source, read_only=read_only)}


def units(context: ServiceContext) -> Iterator[Unit]:
    """The listener, where there is an entry."""
    plan = context.plan.entry
    if plan is None:
        return
    program = (TEMPLATES / SERVICE / "listen.py").read_text("utf-8")
    yield Unit(
        host=plan.host,
        tier=Tier.LISTENER,
        serves=SERVICE,
        image_name=IMAGE,
        start_timeout_seconds=START_TIMEOUT_SECONDS,
        runs=context.container(
            container_name(context),
            SERVICE,
            IMAGE,
            entrypoint="python3",
            command=("-c", program, str(SOCKET), str(TLS_PORT), str(PLAIN_PORT)),
            mounts=shared_mount(context, read_only=False),
            ports=_ports(plan.spec),
            memory_bytes=MEMORY_BYTES,
            keeps_image=True,
            healthcheck=HealthCheck(command=_answers(), start_period_seconds=START_TIMEOUT_SECONDS),
        ),
    )


def _ports(spec: EntrySpec) -> tuple[Port, ...]:
    published = ((spec.https_port, TLS_PORT), (spec.http_port, PLAIN_PORT))
    return tuple(
        Port(host_ip=str(spec.listen), host_port=port, container_port=inside)
        for port, inside in published
    )


def _answers() -> str:
    """A shell command that succeeds when it can be asked."""
    code = f"import socket; socket.socket(socket.AF_UNIX).connect('{SOCKET}')"
    return f'python3 -c "{code}"'
