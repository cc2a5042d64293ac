"""What came of having a certificate issued and renewed over ACME."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deploy.tls.read import SECONDS_A_DAY


@dataclass(frozen=True)
class Renewal:
    """The report that the keeper of the certificate writes (templates/certbot/keep.py)."""

    issued: bool
    """Whether there is a certificate of the declared authority for exactly the declared names."""
    ends: float | None
    """When it ends, in seconds since the epoch."""
    tried: float | None
    """When the authority was asked last, in seconds since the epoch."""
    failures: int
    """How often that failed since it last did not."""
    reason: str
    """Why it failed, in the authority's words."""

    @classmethod
    def parse(cls, text: str) -> Renewal:
        """Read a report.

        Raises:
            ValueError, LookupError, TypeError: if it is none.
        """
        data = json.loads(text)
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})

    @property
    def problem(self) -> str:
        """What an operator should know; empty if all is well."""
        if not self.issued:
            return f"not issued: {self.reason}" if self.reason else "not issued yet"
        if not self.failures:
            return ""
        tries = "the last try" if self.failures == 1 else f"the last {self.failures} tries"
        return f"{tries} to renew it failed: {self.reason}"

    def days_left(self, now: float) -> int | None:
        """Whole days until it ends; ``None`` if there is none.

        Args:
            now: seconds since the epoch.
        """
        return None if self.ends is None else int((self.ends - now) // SECONDS_A_DAY)
