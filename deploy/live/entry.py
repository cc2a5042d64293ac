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
from deploy.live.connection import Connection
from deploy.live.http import Secure, trusting
from deploy.plan.addresses import host_and_port
from deploy.plan.deployment_plan import EntryPlan
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
    way = connection.way(_address(plan), plan.spec.https_port)
    return Secure(
        f"https://{host_and_port(*way)}", plan.names[0], trusted_by_clients(artefacts.secrets)
    )


def ask_entry(artefacts: Artefacts, plan: EntryPlan, connection: Connection) -> str:
    """Whether TLS proves each of its names, and whether the plain port leads there.

    Raises:
        ServiceError, httpx.HTTPError: if one of that is not so.
    """
    way = connection.way(_address(plan), plan.spec.https_port)
    trusted = trusted_by_clients(artefacts.secrets)
    for name in plan.names:
        facts, version = _handshake(way, name, trusting(trusted))
    plain = connection.reach(_address(plan), plan.spec.http_port)
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
    return f"{shown} port {plan.spec.http_port} leads there"


def certificate_days(plan: EntryPlan, connection: Connection) -> int | None:
    """Days that the certificate which the entry serves has left; ``None`` if it serves none."""
    # who signed it is no question here: an expired one must be seen, too
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(ServiceError, ValueError):
        way = connection.way(_address(plan), plan.spec.https_port)
        facts, _ = _handshake(way, plan.names[0], context)
        return facts.days_left(datetime.now(UTC))
    return None


def _handshake(
    way: tuple[str, int], name: str, context: ssl.SSLContext
) -> tuple[CertificateFacts, str]:
    """The certificate that is served under a name, and the version of TLS.

    Raises:
        ServiceError: if there is no TLS, or the certificate is not believed.
    """
    try:
        with (
            socket.create_connection(way, TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return read_der(secured.getpeercert(binary_form=True) or b""), secured.version() or ""
    except ssl.SSLCertVerificationError as error:
        found = f"its certificate for {name} is not believed: {error.verify_message}"
        raise ServiceError(Problem("entry", found, fix="deploy again")) from None
    except (OSError, EOFError) as error:
        raise ServiceError(Problem("entry", f"no TLS at {host_and_port(*way)}: {error}")) from None


def _address(plan: EntryPlan) -> str:
    """Where its host reaches it itself."""
    return "127.0.0.1" if plan.spec.listen.is_unspecified else str(plan.spec.listen)
