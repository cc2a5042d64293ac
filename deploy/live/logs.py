"""Log lines of a service."""

from __future__ import annotations

from collections.abc import Iterator

from docker.errors import NotFound

from deploy.artefacts import Artefacts
from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection, connect
from deploy.live.daemons import is_loaded, read_log
from deploy.live.services import is_there, read_journal
from deploy.services import Unit


def find_unit(artefacts: Artefacts, service: str) -> Unit:
    """The unit that has this name, or alone has it as a part of its name.

    Raises:
        ServiceError: if there is none, or more than one.
    """
    units = {item.name: item for item in artefacts.stack.units}
    matches = [name for name in units if service == name] or [
        name for name in units if service in name
    ]
    if len(matches) != 1:
        found = f"{service!r} is in {', '.join(matches)}" if matches else f"no service {service!r}"
        raise ServiceError(Problem("service", found, ", ".join(units)))
    return units[matches[0]]


def read_logs(artefacts: Artefacts, unit: Unit, *, tail: int, follow: bool) -> Iterator[str]:
    """Log lines, with secrets replaced by their names.

    Raises:
        ServiceError: if the service is not there.
        ConnectionFailedError: if the host does not answer.
    """
    host, needs_docker = artefacts.host(unit.host), unit.image_name is not None
    with connect(host, needs_docker=needs_docker) as connection:
        read = READERS[unit.runs.kind]
        yield from _lines(read(connection, unit.name, tail, follow), artefacts)


def _of_container(connection: Connection, name: str, tail: int, follow: bool) -> Iterator[bytes]:
    try:
        container = connection.client.containers.get(name)
    except NotFound:
        raise absent(name, "container") from None
    if follow:
        yield from container.logs(stream=True, follow=True, tail=tail)
    else:
        yield container.logs(tail=tail)


def absent(name: str, noun: str) -> ServiceError:
    """What is said of something that is not there."""
    fix = "deploy it: pyinfra INVENTORY deploy.py"
    return ServiceError(Problem(name, f"there is no such {noun}", fix=fix))


def _of_daemon(connection: Connection, name: str, tail: int, follow: bool) -> Iterator[bytes]:
    if not is_loaded(connection, name):
        raise absent(name, "service")
    return read_log(connection, name, tail, follow=follow)


def _of_service(connection: Connection, name: str, tail: int, follow: bool) -> Iterator[bytes]:
    if not is_there(connection, name):
        raise absent(name, "service")
    return read_journal(connection, name, tail, follow=follow)


READERS = {"container": _of_container, "launchd": _of_daemon, "systemd": _of_service}
"""Log lines by what runs."""


def _lines(chunks: Iterator[bytes], artefacts: Artefacts) -> Iterator[str]:
    pending = b""
    for chunk in chunks:
        *complete, pending = (pending + chunk).split(b"\n")
        for line in complete:
            yield artefacts.secrets.redact(line.decode("utf-8", "replace"))
    if pending:
        yield artefacts.secrets.redact(pending.decode("utf-8", "replace"))
