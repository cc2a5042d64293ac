"""Whether the entry's certificate was issued, as its keeper reports it."""

from __future__ import annotations

import io
import tarfile
import time
from contextlib import suppress

from deploy.artefacts import Artefacts
from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection
from deploy.services import certbot
from deploy.tls.acme import Renewal

PATIENCE_SECONDS = 180
"""How long an authority may take to issue a certificate."""
FRESH_SECONDS = 20
"""A failure that is not older needs no other try."""
POLL_SECONDS = 0.5


def read_renewal(artefacts: Artefacts, connection: Connection) -> Renewal | None:
    """What came of the last try; ``None`` if there is no report."""
    from docker.errors import NotFound

    with suppress(NotFound, ValueError, LookupError, TypeError):
        container = connection.client.containers.get(certbot.container_name(artefacts.context))
        chunks, _ = container.get_archive(str(certbot.REPORT))
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            file = archive.extractfile(archive.getmembers()[0])
            return Renewal.parse(file.read().decode() if file else "")
    return None


def wait_for_certificate(artefacts: Artefacts, connection: Connection) -> Renewal | None:
    """What came of it when the authority has been asked; if that failed before, it is asked again.

    Returns:
        ``None`` if there is no report.
    """
    seen = read_renewal(artefacts, connection)
    if seen is None:
        return None
    is_old = time.time() - (seen.tried or 0) > FRESH_SECONDS
    if seen.tried is not None and not (seen.failures and is_old):
        return seen
    if not _is_trying(artefacts, connection, at_once=seen.tried is not None):
        return seen
    before, deadline = seen.tried, time.monotonic() + PATIENCE_SECONDS
    while seen and seen.tried == before and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        seen = read_renewal(artefacts, connection)
    return seen


def require_issued(artefacts: Artefacts, renewal: Renewal | None) -> None:
    """Refuse a certificate that was not issued.

    Raises:
        ServiceError: with the authority's reason.
    """
    entry = artefacts.plan.entry
    if entry is None or entry.spec.acme is None or (renewal and renewal.issued):
        return
    asked = f"{entry.spec.acme.directory} was asked for {', '.join(entry.names)}"
    found = renewal.problem if renewal else "there is no report of it"
    name = certbot.container_name(artefacts.context)
    correct = "correct what the authority says"
    if "external account" in found.lower() and entry.spec.acme.external_account is None:
        correct = "declare entry.acme.external_account: the authority gives its customers a key"
    fix = (
        f"{correct}, and deploy again: it is asked at once then. Until it issues one, the"
        f" certificate that was served before is served; details: docker logs {name}"
    )
    raise ServiceError(Problem("entry.acme", f"{asked}: {found}", fix=fix))


def _is_trying(artefacts: Artefacts, connection: Connection, *, at_once: bool) -> bool:
    """Whether the keeper runs, and so asks the authority; if need be, it is told to."""
    from docker.errors import APIError

    try:
        container = connection.client.containers.get(certbot.container_name(artefacts.context))
        if at_once:
            container.kill(signal="SIGUSR1")
    except APIError:
        # one that does not run is reported with the other containers
        return False
    return str(container.status) == "running"
