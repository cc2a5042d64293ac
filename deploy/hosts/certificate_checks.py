"""How long certificates last: of the entry, and of links."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.hosts.finding import Finding
from deploy.tls.acme import Renewal
from deploy.tls.pair import OwnCertificates
from deploy.tls.read import CertificateFacts, read_certificate

SOON_DAYS = 21
"""A certificate with fewer days left is warned about."""
URGENT_DAYS = 7
"""A service whose certificate has fewer days left is not in order: who looks at nothing but an
exit status is to hear of it before all connections fail."""
ROOT_SOON_DAYS = 365
"""Clients need time to get another root."""
RENEW = "deploy: pyinfra INVENTORY deploy.py renews it"


def certificate_findings(served: str, own: OwnCertificates | None, now: float) -> Iterator[Finding]:
    """What is to be said of the certificate that a deployment serves with.

    Args:
        served: PEM of it.
        own: where Atelier makes it; ``None`` for a certificate of the site.
        now: this machine's clock, in seconds since the epoch.
    """
    time = datetime.fromtimestamp(now, UTC)
    if own is None:
        yield _site(read_certificate(served), time)
        return
    before = own.previous or own.server
    days = read_certificate(before.certificate).days_left(time)
    if own.previous and days < SOON_DAYS:
        yield Finding("certificate", "warning", _left(days), f"at least {SOON_DAYS} days", RENEW)
    else:
        yield Finding("certificate", "ok", _left(days))
    yield from _root(read_certificate(own.authority.certificate).days_left(time))


def link_finding(certificate: str, now: float, *, is_renewed: bool) -> Finding:
    """What is to be said of the certificate of a link's end.

    Args:
        certificate: PEM of the one that it has so far.
        now: this machine's clock, in seconds since the epoch.
        is_renewed: whether the next deployment renews it.
    """
    days = read_certificate(certificate).days_left(datetime.fromtimestamp(now, UTC))
    if is_renewed and days < SOON_DAYS:
        allowed = f"at least {SOON_DAYS} days"
        return Finding("link certificate", "warning", _left(days), allowed, RENEW)
    return Finding("link certificate", "ok", _left(days))


def issued_findings(renewal: Renewal | None, now: float) -> Iterator[Finding]:
    """What is to be said of a certificate that an authority issues over ACME.

    Args:
        renewal: what came of it on the host; ``None`` before the first deployment.
        now: this machine's clock, in seconds since the epoch.
    """
    if renewal is None:
        yield Finding("certificate", "ok", "none yet; the deployment will have it issued")
        return
    days = renewal.days_left(now)
    found = "; ".join(
        text for text in (_left(days) if days is not None else "", renewal.problem) if text
    )
    if renewal.problem or (days is not None and days < 0):
        fix = "correct what the authority says, and deploy: it tries again at once"
        yield Finding("certificate", "warning", found, "one that is issued and renewed", fix)
    else:
        yield Finding("certificate", "ok", found)


def _site(facts: CertificateFacts, now: datetime) -> Finding:
    days = facts.days_left(now)
    fix = "have it renewed, put the new one into its file, and deploy"
    if days < 0:
        found = f"it expired on {facts.ends:%Y-%m-%d}"
        return Finding("entry.certificate", "problem", found, "one that is valid today", fix)
    if facts.starts > now:
        found = f"it is valid from {facts.starts:%Y-%m-%d %H:%M} UTC only"
        fix = "wait until then, or set this machine's clock"
        return Finding("entry.certificate", "problem", found, "one that is valid today", fix)
    if days < SOON_DAYS:
        allowed = f"at least {SOON_DAYS} days"
        return Finding("entry.certificate", "warning", _left(days), allowed, fix)
    return Finding("entry.certificate", "ok", _left(days))


def _root(days: int) -> Iterator[Finding]:
    if days >= ROOT_SOON_DAYS:
        return
    fix = (
        "choose a week in which you can give every client a new root: remove certificates from the"
        " file of secrets, and deploy with --data new_secrets=yes"
    )
    yield Finding(
        "root certificate",
        "problem" if days < 0 else "warning",
        _left(days),
        f"at least {ROOT_SOON_DAYS} days",
        fix,
    )


def _left(days: int) -> str:
    return f"{days} days left" if days >= 0 else f"it ended {-days} days ago"
