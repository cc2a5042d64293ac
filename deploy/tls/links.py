"""The certificates of links: each end has its own, and trusts what their authority signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import LinkCertificates, LinkEnd, OwnCertificates, Pair
from deploy.tls.read import read_certificate
from deploy.tls.renewal import RENEWED_DAYS, why_renew


def provide_links(
    kept: LinkCertificates | None, deployment: str, ends: Sequence[LinkEnd], now: datetime
) -> LinkCertificates:
    """What is kept, with what it lacks, and without what nothing has any more.

    Args:
        kept: what an earlier run made.
        deployment: name of the deployment.
        ends: who needs a certificate.
        now: the time, in UTC.
    """
    reasons = []
    if kept is None or _ends_soon(kept.authority, now):
        authority = make_authority(f"{deployment} links", now)
        before: Mapping[str, Pair] = {}
        reasons.append("a certificate authority for links")
    else:
        authority, before = kept.authority, kept.pairs
    needed = {end.key: _why(authority, before.get(end.key), end, now) for end in ends}
    made = {
        end.key: issue(authority, (end.name,), now, end.role) for end in ends if needed[end.key]
    }
    return LinkCertificates(
        authority=authority,
        pairs={end.key: made.get(end.key) or before[end.key] for end in ends},
        reasons=(*reasons, *(why for why in needed.values() if why)),
        is_new=bool(reasons),
        previous={key: before[key] for key in made if key in before},
    )


def _why(authority: Pair, pair: Pair | None, end: LinkEnd, now: datetime) -> str:
    """Why an end needs another certificate; empty if it does not."""
    if pair is None:
        return f"a certificate for {end.name} as a {end.role}"
    return why_renew(OwnCertificates(authority, pair), (end.name,), now)


def _ends_soon(authority: Pair, now: datetime) -> bool:
    return read_certificate(authority.certificate).days_left(now) < RENEWED_DAYS
