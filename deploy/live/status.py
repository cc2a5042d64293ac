"""What runs, compared with the plan: a row for each service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container

from deploy.artefacts import Artefacts
from deploy.changes.drift import container_drift
from deploy.changes.live import LiveContainer
from deploy.errors import ConnectionFailedError, Problem
from deploy.live.connection import Connection, connect
from deploy.live.entry import certificate_days
from deploy.live.inspect import live_container
from deploy.plan.addresses import host_and_port
from deploy.services import Tier, Unit
from deploy.spec import HostSpec


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it runs."""

    service: str
    """Name of the container."""
    host: str
    image: str
    """Reference the container was made from; empty if there is no container."""
    state: str
    """``running``, ``exited`` ..., ``absent``, or ``unreachable`` with its host."""
    health: str
    """``healthy``, ``starting``, ``unhealthy``, or empty."""
    drift: tuple[str, ...]
    """Names of the fields that differ from the plan."""
    url: str
    """Address that users may open; empty for services without a published port."""
    uptime_seconds: int
    memory_bytes: int
    memory_limit_bytes: int
    certificate_days: int | None = None
    """Days that the certificate which it serves has left; ``None`` for services without one."""

    @property
    def ok(self) -> bool:
        """Whether it runs, healthy and as planned."""
        works = self.state == "running" and self.health == "healthy" and not self.drift
        return works and (self.certificate_days is None or self.certificate_days >= 0)


def read_status(artefacts: Artefacts) -> Iterator[ServiceStatus]:
    """The status of every planned service, in the order in which they start.

    Raises:
        ConnectionFailedError: if no host's Docker answers.
    """
    with ExitStack() as stack:
        hosts = _connect(artefacts.spec.hosts, stack)
        for unit in artefacts.stack.units:
            connection = hosts.get(unit.host)
            if connection:
                yield _read(unit, artefacts, connection)
            else:
                yield _not_there(unit, "unreachable")


def _connect(hosts: tuple[HostSpec, ...], stack: ExitStack) -> dict[str, Connection]:
    """The hosts that can be reached; the others must not hide what runs on these."""
    found: dict[str, Connection] = {}
    problems: list[Problem] = []
    for host in hosts:
        try:
            found[host.name] = stack.enter_context(connect(host))
        except ConnectionFailedError as error:
            problems += error.problems
    if not found:
        raise ConnectionFailedError(*problems)
    return found


def _not_there(unit: Unit, state: str) -> ServiceStatus:
    spec = unit.container
    return ServiceStatus(
        spec.name, unit.host, "", state, "", ("container",), "", 0, 0, spec.memory_bytes
    )


def _read(unit: Unit, artefacts: Artefacts, connection: Connection) -> ServiceStatus:
    spec = unit.container
    try:
        container = connection.client.containers.get(spec.name)
    except NotFound:
        return _not_there(unit, "absent")
    live = live_container(container.attrs)
    wanted = spec.public(artefacts.secrets.digest)
    drift = container_drift(live, wanted, _image_id(connection, spec.image))
    running = live.state == "running"
    return ServiceStatus(
        service=spec.name,
        host=unit.host,
        image=container.attrs["Config"]["Image"],
        state=live.state,
        health=live.health or "",
        drift=tuple(dict.fromkeys(change.field for change in drift)),
        url=_url(unit, artefacts),
        uptime_seconds=_uptime(live) if running else 0,
        memory_bytes=_memory(container) if running else 0,
        memory_limit_bytes=live.memory_bytes,
        certificate_days=_certificate_days(unit, artefacts, connection) if running else None,
    )


def _image_id(connection: Connection, reference: str) -> str | None:
    try:
        return str(connection.client.images.get(reference).id)
    except ImageNotFound:
        return None


def _certificate_days(unit: Unit, artefacts: Artefacts, connection: Connection) -> int | None:
    entry = artefacts.plan.entry
    return certificate_days(entry, connection) if entry and unit.tier == Tier.ENTRY else None


def _url(unit: Unit, artefacts: Artefacts) -> str:
    if artefacts.plan.entry and unit.tier == Tier.ENTRY:
        return artefacts.plan.entry.urls[0]
    ports = unit.container.ports
    return f"http://{host_and_port(ports[0].host_ip, ports[0].host_port)}" if ports else ""


def _uptime(live: LiveContainer) -> int:
    return int(datetime.now(UTC).timestamp() - live.started_at)


def _memory(container: Container) -> int:
    """Memory in use without the page cache, in bytes, as ``docker stats`` counts it."""
    stats = cast("dict[str, Any]", container.stats(stream=False, one_shot=True))
    memory = stats.get("memory_stats", {})
    detail = memory.get("stats", {})
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    usage = int(memory.get("usage", 0))
    return usage - int(cache) if int(cache) < usage else usage
