"""The entry as its users meet it: through TLS, under its name."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime

import httpx

from deploy.artefacts import Artefacts
from deploy.certificates import trusted_by_clients
from deploy.errors import Problem, ServiceError
from deploy.live.acme import require_issued
from deploy.live.checks import Answer
from deploy.live.connection import Connection
from deploy.live.http import PUBLIC_AUTHORITIES, Secure, trusting
from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import EntryPlan
from deploy.tls.acme import Renewal
from deploy.tls.read import CertificateFacts, read_der

TIMEOUT_SECONDS = 30
PERMANENT_REDIRECT = 308


def entry_base(artefacts: Artefacts, plan: EntryPlan, connection: Connection) -> Secure:
    """The entry for questions that believe the deployment's own certificates alone.

    Args:
        artefacts: the deployment.
        plan: its entry.
        connection: to the entry's host.
    """
    way = connection.way(address_of(plan), plan.spec.https_port)
    return Secure(f"https://{host_and_port(*way)}", plan.names[0], trusted(artefacts, plan))


def ask_entry(
    artefacts: Artefacts, plan: EntryPlan, connection: Connection, renewal: Renewal | None = None
) -> Answer:
    """Whether TLS proves each of its names, and whether the plain port leads there.

    Args:
        artefacts: the deployment.
        plan: its entry.
        connection: to the entry's host.
        renewal: what came of having its certificate issued, if an authority does that.

    Raises:
        ServiceError, httpx.HTTPError: if one of that is not so.
    """
    require_issued(artefacts, renewal)
    way = connection.way(address_of(plan), plan.spec.https_port)
    authorities = trusted(artefacts, plan)
    for name in plan.names:
        facts, version = _handshake(way, name, trusting(authorities))
    plain = connection.reach(address_of(plan), plan.spec.http_port)
    reply = httpx.get(
        f"{plain}/health",
        headers={"Host": plan.names[0]},
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
    )
    wanted = f"{plan.urls[0]}/health"
    if reply.status_code != PERMANENT_REDIRECT or reply.headers.get("Location") != wanted:
        found = f"HTTP {reply.status_code} to {reply.headers.get('Location')}"
        raise ServiceError(Problem("entry.http_port", found, f"308 to {wanted}"))
    days = facts.days_left(datetime.now(UTC))
    shown = f"{version}, certificate of {facts.issuer} with {days} days left;"
    return Answer(
        f"{shown} port {plan.spec.http_port} leads there", renewal.problem if renewal else ""
    )


def certificate_days(plan: EntryPlan, connection: Connection) -> int | None:
    """Days that the certificate which the entry serves has left; ``None`` if it serves none."""
    # who signed it is no question here: an expired one must be seen, too
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(ServiceError, ValueError):
        way = connection.way(address_of(plan), plan.spec.https_port)
        facts, _ = _handshake(way, plan.names[0], context)
        return facts.days_left(datetime.now(UTC))
    return None


def _handshake(
    way: tuple[str, int], name: str, context: ssl.SSLContext
) -> tuple[CertificateFacts, str]:
    """The certificate that is served under a name, and the version of TLS.

    Raises:
        ServiceError: if there is no TLS, or the certificate is not trusted.
    """
    try:
        with (
            socket.create_connection(way, TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return read_der(secured.getpeercert(binary_form=True) or b""), secured.version() or ""
    except ssl.SSLCertVerificationError as error:
        found = f"its certificate for {name} is not trusted: {error.verify_message}"
        raise ServiceError(Problem("entry", found, fix="deploy again")) from None
    except (OSError, EOFError) as error:
        raise ServiceError(Problem("entry", f"no TLS at {host_and_port(*way)}: {error}")) from None


def trusted(artefacts: Artefacts, plan: EntryPlan) -> str:
    """PEM of what its clients trust."""
    if plan.spec.acme:
        return artefacts.context.acme_authorities or PUBLIC_AUTHORITIES
    return trusted_by_clients(artefacts.secrets)


def address_of(plan: EntryPlan) -> str:
    """Where its host reaches it itself."""
    return "127.0.0.1" if plan.spec.listen.is_unspecified else str(plan.spec.listen)
