"""What runs, compared with the plan: a row for each service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container

from deploy.artefacts import Artefacts
from deploy.changes.drift import drift
from deploy.changes.expected import expected
from deploy.changes.live import Live
from deploy.errors import ConnectionFailedError, Problem
from deploy.hosts.certificate_checks import URGENT_DAYS
from deploy.live.acme import read_renewal
from deploy.live.connection import Connection, connect
from deploy.live.daemons import read_daemon
from deploy.live.entry import certificate_days
from deploy.live.hangs import Hangs, read_hangs
from deploy.live.inspect import live_container
from deploy.live.links import certificate_of, loaded
from deploy.live.restarts import NEVER, Restarts, read_restarts
from deploy.live.services import FoundService, read_service
from deploy.plan.addresses import host_and_port
from deploy.services import Tier, Unit
from deploy.services.container import LOOPBACK
from deploy.services.link_files import CERTIFICATE


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it runs."""

    service: str
    """Name of the container, or of the host's service."""
    host: str
    image: str
    """Reference the container was made from, or version of the program; empty if it is absent."""
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
    restarts: Restarts = NEVER
    certificate_days: int | None = None
    """Days that the certificate which it serves has left; ``None`` for services without one."""
    certificate_renews_itself: bool = False
    """Whether an authority renews that, and not a deployment."""
    certificate_problem: str = ""
    """Why an authority did not issue or renew the entry's certificate; empty if it did."""
    health_said: str = ""
    """The last line of its health check, where that fails, e.g. that it has no GPU any more."""
    hangs: Hangs | None = None
    """How often it hung and was started again for that; ``None`` for never."""

    @property
    def ok(self) -> bool:
        """Whether it runs, healthy and as planned."""
        works = self.state == "running" and self.health == "healthy" and not self.drift
        least = 0 if self.certificate_renews_itself else URGENT_DAYS
        return works and (self.certificate_days is None or self.certificate_days >= least)


def read_status(artefacts: Artefacts) -> Iterator[ServiceStatus]:
    """The status of every planned service, in the order in which they start.

    Raises:
        ConnectionFailedError: if no host's Docker answers.
    """
    with ExitStack() as stack:
        hosts = _connect(artefacts, stack)
        for unit in artefacts.stack.units:
            connection = hosts.get(unit.host)
            if connection:
                yield READERS[unit.runs.kind](unit, artefacts, connection)
            else:
                yield _not_there(unit, "unreachable")


def _connect(artefacts: Artefacts, stack: ExitStack) -> dict[str, Connection]:
    """The hosts that can be reached; the others must not hide what runs on these."""
    found: dict[str, Connection] = {}
    problems: list[Problem] = []
    for host in artefacts.spec.hosts:
        needs_docker = artefacts.stack.needs_docker(host.name)
        try:
            found[host.name] = stack.enter_context(connect(host, needs_docker=needs_docker))
        except ConnectionFailedError as error:
            problems += error.problems
    if not found:
        raise ConnectionFailedError(*problems)
    return found


def _not_there(unit: Unit, state: str) -> ServiceStatus:
    runs = unit.runs
    return ServiceStatus(
        unit.name, unit.host, "", state, "", (runs.noun,), "", 0, 0, runs.memory_bytes
    )


def _drift(unit: Unit, artefacts: Artefacts, live: Live, image_id: str | None) -> tuple[str, ...]:
    """Names of the fields in which it is not as wanted."""
    wanted = expected(unit, artefacts.plan.name, image_id, artefacts.secrets)
    return tuple(dict.fromkeys(change.field for change in drift(live, wanted)))


def _read_container(unit: Unit, artefacts: Artefacts, connection: Connection) -> ServiceStatus:
    try:
        container = connection.client.containers.get(unit.name)
    except NotFound:
        return _not_there(unit, "absent")
    live = live_container(container.attrs)
    running = live.state == "running"
    return ServiceStatus(
        service=unit.name,
        host=unit.host,
        image=container.attrs["Config"]["Image"],
        state=live.state,
        health=live.health or "",
        health_said=live.health_said,
        drift=_drift(unit, artefacts, live, _image_id(connection, unit.container.image)),
        url=_url(unit, artefacts),
        uptime_seconds=_uptime(live) if running else 0,
        memory_bytes=_memory(container) if running else 0,
        memory_limit_bytes=live.memory_bytes,
        restarts=read_restarts(container.attrs, connection.client),
        hangs=read_hangs(container),
        certificate_days=_certificate_days(unit, artefacts, connection) if running else None,
        certificate_renews_itself=_renews_itself(unit, artefacts),
        certificate_problem=_certificate_problem(unit, artefacts, connection),
    )


def _read_systemd(unit: Unit, artefacts: Artefacts, connection: Connection) -> ServiceStatus:
    return _service(unit, artefacts, read_service(connection, unit.name))


def _read_launchd(unit: Unit, artefacts: Artefacts, connection: Connection) -> ServiceStatus:
    status = _service(unit, artefacts, read_daemon(connection, unit.name))
    if status.state != "running":
        return status
    return replace(status, certificate_days=_certificate_days(unit, artefacts, connection))


def _service(unit: Unit, artefacts: Artefacts, found: FoundService | None) -> ServiceStatus:
    if found is None:
        return _not_there(unit, "absent")
    live = found.live
    running = live.state == "running"
    not_enabled = () if live.starts_with_host else ("start",)
    return ServiceStatus(
        service=unit.name,
        host=unit.host,
        image=str((live.spec or {}).get("version", "")),
        state=live.state,
        health=live.health or "",
        drift=(*_drift(unit, artefacts, live, None), *not_enabled),
        url=_url(unit, artefacts),
        uptime_seconds=_uptime(live) if running else 0,
        memory_bytes=found.memory_bytes if running else 0,
        memory_limit_bytes=found.memory_limit_bytes,
    )


READERS = {
    "container": _read_container,
    "launchd": _read_launchd,
    "systemd": _read_systemd,
}
"""How what runs is read."""


def _image_id(connection: Connection, reference: str) -> str | None:
    try:
        return str(connection.client.images.get(reference).id)
    except ImageNotFound:
        return None


def _certificate_days(unit: Unit, artefacts: Artefacts, connection: Connection) -> int | None:
    if unit.tier == Tier.LINK and unit.config:
        found = certificate_of(unit, connection)
        return found.days_left if found else None
    entry = artefacts.plan.entry
    if entry is None or unit.tier != Tier.ENTRY:
        return None
    served = certificate_days(entry, connection)
    # where services are on other hosts, it has one for links, too
    has_link = unit.config is not None and CERTIFICATE in unit.config.files
    own = loaded(connection, unit.name) if has_link else None
    return min(served, own.days_left) if served is not None and own else served


def _renews_itself(unit: Unit, artefacts: Artefacts) -> bool:
    entry = artefacts.plan.entry
    return unit.tier == Tier.ENTRY and entry is not None and entry.spec.acme is not None


def _certificate_problem(unit: Unit, artefacts: Artefacts, connection: Connection) -> str:
    if unit.tier != Tier.CERTIFICATE:
        return ""
    renewal = read_renewal(artefacts, connection)
    return renewal.problem if renewal else "there is no report of it"


def _url(unit: Unit, artefacts: Artefacts) -> str:
    if artefacts.plan.entry and unit.tier == Tier.ENTRY:
        return artefacts.plan.entry.urls[0]
    # these have ports, and no one asks them by themselves
    if unit.tier in {Tier.LINK, Tier.LISTENER} or not unit.runs.listens:
        return ""
    address, port = unit.runs.listens[0]
    is_behind_link = unit.tier == Tier.ENGINE and address == LOOPBACK
    return "" if is_behind_link else f"http://{host_and_port(address, port)}"


def _uptime(live: Live) -> int:
    return int(datetime.now(UTC).timestamp() - live.started_at)


def _memory(container: Container) -> int:
    """Memory in use without the page cache, in bytes, as ``docker stats`` counts it."""
    stats = cast("dict[str, Any]", container.stats(stream=False, one_shot=True))
    memory = stats.get("memory_stats", {})
    detail = memory.get("stats", {})
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    usage = int(memory.get("usage", 0))
    return usage - int(cache) if int(cache) < usage else usage
