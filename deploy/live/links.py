"""The ends of links: which certificate HAProxy has at each.

In a container it says so itself: https://docs.haproxy.org/3.0/management.html#9.3. On a Mac it is
what it shows to whoever connects.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ssl import PEM_cert_to_DER_cert, cert_time_to_seconds, get_server_certificate
from typing import cast

from deploy.artefacts import Artefacts
from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection
from deploy.services import Unit
from deploy.services.haproxy import RUNTIME_PORT
from deploy.services.link_files import CERTIFICATE
from deploy.tls.pair import LinkEnd
from deploy.tls.read import SECONDS_A_DAY, read_certificate

PATIENCE_SECONDS = 20
"""How long an end may take to read its files again."""
POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Loaded:
    """A certificate that HAProxy has in memory."""

    sha1: str
    """Fingerprint, in hexadecimal digits."""
    ends: float
    """In seconds since the epoch."""

    @property
    def days_left(self) -> int:
        """Whole days until it ends; negative once it has ended."""
        return int((self.ends - datetime.now(UTC).timestamp()) // SECONDS_A_DAY)


def certificate_of(unit: Unit, connection: Connection) -> Loaded | None:
    """The certificate that an end has; ``None`` if it does not say.

    Args:
        unit: the end.
        connection: to its host.
    """
    if unit.runs.kind == "container":
        return loaded(connection, unit.name)
    return shown(connection, *unit.runs.listens[0])


def shown(connection: Connection, address: str, port: int) -> Loaded | None:
    """The certificate that a server shows before it asks for one; ``None`` if it shows none.

    Args:
        connection: to its host.
        address: where it listens.
        port: TCP port.
    """
    try:
        pem = get_server_certificate(connection.way(address, port), timeout=TIMEOUT_SECONDS)
    except OSError:
        return None
    return Loaded(_sha1(pem), read_certificate(pem).ends.timestamp())


def loaded(connection: Connection, container: str) -> Loaded | None:
    """The certificate that an end in a container has; ``None`` if it does not say.

    Args:
        connection: to its host.
        container: its name.
    """
    from docker.errors import APIError, NotFound

    ask = f"show ssl cert {CERTIFICATE}"
    command = f"exec 3<>/dev/tcp/127.0.0.1/{RUNTIME_PORT}; echo '{ask}' >&3; cat <&3"
    try:
        _, said = connection.client.containers.get(container).exec_run(["bash", "-c", command])
    except (NotFound, APIError):
        return None
    return parse(cast("bytes", said).decode("utf-8", "replace"))


def parse(said: str) -> Loaded | None:
    """What HAProxy says of a certificate; ``None`` if it has none."""
    rows: Mapping[str, str] = dict(
        line.split(": ", 1) for line in said.splitlines() if ": " in line
    )
    try:
        ends = cert_time_to_seconds(rows["notAfter"])
        return Loaded(rows["SHA1 FingerPrint"].strip().lower(), ends)
    except (KeyError, ValueError):
        return None


def ask_end(artefacts: Artefacts, end: LinkEnd, name: str, connection: Connection) -> str:
    """Wait until an end has the certificate that it was given.

    Args:
        artefacts: the deployment.
        end: which end.
        name: the container that has its certificate.
        connection: to its host.

    Raises:
        ServiceError: if it has another one, or does not answer.
    """
    wanted = _sha1(artefacts.secrets.value(end.certificate_name))
    [unit] = [unit for unit in artefacts.stack.on(end.host) if unit.name == name]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = certificate_of(unit, connection)
        if found and found.sha1 == wanted:
            return f"mutual TLS, certificate with {found.days_left} days left"
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    why = "it has another certificate than it was given" if found else "HAProxy does not answer"
    is_container = unit.runs.kind == "container"
    anew = f"docker restart {name}" if is_container else f"launchctl kickstart -k system/{name}"
    raise ServiceError(Problem(name, why, fix=f"atelier logs INVENTORY {name}; sudo {anew}"))


def _sha1(pem: str) -> str:
    """Which certificate it is, no proof: HAProxy says no other digest."""
    return hashlib.sha1(PEM_cert_to_DER_cert(pem), usedforsecurity=False).hexdigest()
