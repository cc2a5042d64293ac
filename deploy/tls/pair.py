"""A certificate with its private key, as PEM texts; and the two that a deployment makes itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ENTRY_CERTIFICATE, ENTRY_KEY = "certificate of the entry", "key of the entry"
"""What the entry serves with is called where its text must not be shown."""

EXTERNAL_ACCOUNT_KEY = "entry.acme.external_account.hmac"
"""What an ACME authority knows the site by is called there, and where it is declared."""


LINKS_AUTHORITY = "certificate of the links' authority"
"""What both ends of every link trust is called there."""
LONGEST_COMMON_NAME = 64
"""https://www.rfc-editor.org/rfc/rfc5280#appendix-A.1, ub-common-name"""
Role = Literal["server", "client"]
"""What a certificate is for: it is of no use for the other."""
UNUSUAL = re.compile(r"[^a-z0-9.-]")


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


def plain_name(host: str) -> str:
    """A host's name without what names of containers and of certificates may not have in them."""
    return UNUSUAL.sub("-", host.lower()).strip("-.")


@dataclass(frozen=True)
class LinkEnd:
    """Who has a certificate for links: hosts that ask others are clients, those asked servers."""

    host: str
    role: Role

    @property
    def key(self) -> str:
        """What it is called in the file of secrets."""
        return f"{self.host} {self.role}"

    @property
    def name(self) -> str:
        """The name in its certificate, which the other end asks for."""
        return f"{plain_name(self.host)}.link"

    @property
    def common_name(self) -> str:
        """As much of it as a common name may have, which the other end looks at."""
        return self.name[:LONGEST_COMMON_NAME]

    @property
    def certificate_name(self) -> str:
        """What its certificate is called where its text must not be shown."""
        return f"certificate of the link's {self.role} on {self.host}"

    @property
    def key_name(self) -> str:
        """What its private key is called there."""
        return f"key of the link's {self.role} on {self.host}"


@dataclass(frozen=True)
class LinkCertificates:
    """An authority for links alone, and what it signed."""

    authority: Pair
    pairs: Mapping[str, Pair]
    """By the key of the end."""
    reasons: tuple[str, ...] = ()
    """What was made just now, and why; empty if everything was kept."""
    is_new: bool = False
    """Whether the authority was made just now, and is kept nowhere yet."""
    previous: Mapping[str, Pair] = field(default_factory=dict)
    """What the pairs replace that were made just now, by the key of the end."""
