"""How long the entry's certificate lasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.hosts.finding import Finding
from deploy.tls.pair import OwnCertificates
from deploy.tls.read import CertificateFacts, read_certificate

SOON_DAYS = 21
"""A certificate with fewer days left is warned about."""
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
        "take a week in which every client is given another one: remove certificates from the file"
        " of secrets, and deploy with --data new_secrets=yes"
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
