"""Listeners: they have the ports of the entry and of links, and give their sockets to HAProxy.

Docker publishes ports of one container, and its name is that of one address, so that they go with
it. A listener stays: it never accepts a connection and never reads what is sent, and so needs no
other image because of what could be sent. Each HAProxy asks it for the sockets when it starts, and
reads and answers what comes to them, in a network of its own. Where none runs, connections wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from deploy.render import TEMPLATES
from deploy.services.container_parts import HealthCheck, Mount, Port
from deploy.services.context import ServiceContext
from deploy.services.unit import Tier, Unit
from deploy.spec.entry import EntrySpec
from deploy.units import MIB

SERVICE, IMAGE = "listener", "python"
PLAIN_PORT, TLS_PORT = 8080, 8443
"""Where the entry's listens in its container."""
DIRECTORY = PurePosixPath("/run/listener")
"""The volume that it shares with HAProxy, in both."""
SOCKET = DIRECTORY / "sockets"
"""Where HAProxy asks for the sockets."""
MEMORY_BYTES = 64 * MIB
START_TIMEOUT_SECONDS = 60


def container_name(context: ServiceContext, *of: str) -> str:
    """Name of its container.

    Args:
        context: the deployment.
        of: which end of which link it listens for; nothing for the entry.
    """
    return context.container_name(SERVICE, *of)


def shared_mount(context: ServiceContext, *of: str, read_only: bool) -> dict[PurePosixPath, Mount]:
    """Where the sockets are asked for.

    Args:
        context: the deployment.
        of: as of its name.
        read_only: whether nothing is to be changed there.
    """
    source = "-".join((context.plan.name, SERVICE, *of))
    return {DIRECTORY: Mount(kind="volume", source=source, read_only=read_only)}


def units(context: ServiceContext) -> Iterator[Unit]:
    """The listener of the entry, where there is one."""
    plan = context.plan.entry
    if plan:
        yield unit(
            context,
            (TLS_PORT, PLAIN_PORT),
            ports=_ports(plan.spec),
            host=plan.host,
            tier=Tier.LISTENER,
            serves=SERVICE,
        )


def unit(
    context: ServiceContext,
    inside: tuple[int, ...],
    *of: str,
    ports: tuple[Port, ...] = (),
    **own: Any,
) -> Unit:
    """A listener.

    Args:
        context: the deployment.
        inside: the ports that it listens on in its container.
        of: as of its name.
        ports: how they are published, if they are.
        own: fields of the unit: where and when it runs, and how requests come to it.
    """
    program = (TEMPLATES / SERVICE / "listen.py").read_text("utf-8")
    return Unit(
        image_name=IMAGE,
        start_timeout_seconds=START_TIMEOUT_SECONDS,
        runs=context.container(
            container_name(context, *of),
            SERVICE,
            IMAGE,
            entrypoint="python3",
            command=("-c", program, str(SOCKET), *map(str, inside)),
            mounts=shared_mount(context, *of, read_only=False),
            ports=ports,
            memory_bytes=MEMORY_BYTES,
            keeps_image=True,
            healthcheck=HealthCheck(command=_answers(), start_period_seconds=START_TIMEOUT_SECONDS),
        ),
        **own,
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
