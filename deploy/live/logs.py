"""Log lines of a service."""

from __future__ import annotations

from collections.abc import Iterator

from docker.errors import NotFound

from deploy.artefacts import Artefacts
from deploy.errors import Problem, ServiceError
from deploy.live.connection import connect
from deploy.services import Unit


def find_unit(artefacts: Artefacts, service: str) -> Unit:
    """The unit whose container has this name, or alone has it as a part of its name.

    Raises:
        ServiceError: if there is none, or more than one.
    """
    units = {item.container.name: item for item in artefacts.stack.units}
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
        ServiceError: if the service has no container.
        ConnectionFailedError: if the host's Docker does not answer.
    """
    with connect(artefacts.host(unit.host)) as connection:
        try:
            container = connection.client.containers.get(unit.container.name)
        except NotFound:
            name = unit.container.name
            fix = "deploy it: pyinfra INVENTORY deploy.py"
            raise ServiceError(Problem(name, "there is no such container", fix=fix)) from None
        if follow:
            yield from _lines(container.logs(stream=True, follow=True, tail=tail), artefacts)
        else:
            yield from _lines(iter([container.logs(tail=tail)]), artefacts)


def _lines(chunks: Iterator[bytes], artefacts: Artefacts) -> Iterator[str]:
    pending = b""
    for chunk in chunks:
        *complete, pending = (pending + chunk).split(b"\n")
        for line in complete:
            yield artefacts.secrets.redact(line.decode("utf-8", "replace"))
    if pending:
        yield artefacts.secrets.redact(pending.decode("utf-8", "replace"))
