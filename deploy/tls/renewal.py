"""What a deployment with an authority of its own has, and what it needs anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import load_pem_x509_certificate

from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import OwnCertificates
from deploy.tls.read import read_certificate

RENEWED_DAYS = 45
"""A certificate with fewer days left is renewed: whoever deploys once a month, or somewhat later,
does so before it ends."""


def provide(
    kept: OwnCertificates | None, deployment: str, names: Sequence[str], now: datetime
) -> OwnCertificates:
    """What is kept, with what it lacks.

    Args:
        kept: what an earlier run made.
        deployment: name of the deployment.
        names: what the certificate is for.
        now: the time, in UTC.
    """
    if kept is None:
        authority = make_authority(deployment, now)
        reasons = (f"a certificate authority, and a certificate for {', '.join(names)}",)
        return OwnCertificates(authority, issue(authority, names, now), reasons, is_new=True)
    reason = why_renew(kept, names, now)
    if not reason:
        return kept
    server = issue(kept.authority, names, now)
    return replace(kept, server=server, reasons=(reason,), previous=kept.server)


def why_renew(kept: OwnCertificates, names: Sequence[str], now: datetime) -> str:
    """Why a certificate cannot stay; empty if it can.

    Args:
        kept: what an earlier run made.
        names: what the certificate is for.
        now: the time, in UTC.
    """
    facts = read_certificate(kept.server.certificate)
    root = read_certificate(kept.authority.certificate)
    if root.ends <= now:
        # it cannot sign any more, which is said where the host is checked
        return ""
    if set(facts.names) != set(names):
        return f"a certificate for {', '.join(names)} instead of {', '.join(facts.names)}"
    days = facts.days_left(now)
    if days < RENEWED_DAYS and facts.ends < root.ends:
        return f"a certificate for {', '.join(names)}: the one there is has {days} days left"
    if not _is_signed(kept):
        return f"a certificate for {', '.join(names)}: the authority did not sign the one there is"
    return ""


def _is_signed(kept: OwnCertificates) -> bool:
    certificate, root = (
        load_pem_x509_certificate(pair.certificate.encode())
        for pair in (kept.server, kept.authority)
    )
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
