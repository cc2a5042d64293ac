"""A certificate with its private key, as PEM texts; and the two that a deployment makes itself."""

from __future__ import annotations

from dataclasses import dataclass, field

ENTRY_CERTIFICATE, ENTRY_KEY = "certificate of the entry", "key of the entry"
"""What the entry serves with is called where its text must not be shown."""


@dataclass(frozen=True)
class Pair:
    """A certificate, with those between it and its authority, and its private key."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class OwnCertificates:
    """An authority of the deployment's own, and what it signed."""

    authority: Pair
    server: Pair
    reasons: tuple[str, ...] = ()
    """What was made just now, and why; empty if everything was kept."""
    is_new: bool = False
    """Whether the authority was made just now, and is kept nowhere yet."""
    previous: Pair | None = None
    """What the server's pair replaces."""
