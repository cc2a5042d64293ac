"""What came of having the entry's certificate issued."""

from __future__ import annotations

import shlex
from contextlib import suppress

from pyinfra.api import FactBase

from deploy.facts.engine import UNLESS_ENGINE
from deploy.tls.acme import Renewal


class CertificateRenewal(FactBase[Renewal | None]):
    """The report of whoever keeps the certificate; ``None`` if there is none."""

    def command(self, container: str, path: str) -> str:
        """Print the report, whether the container runs or not.

        Args:
            container: name of the container.
            path: where the report is in it.
        """
        source = shlex.quote(f"{container}:{path}")
        return f"{UNLESS_ENGINE}\ndocker cp {source} - 2>/dev/null | tar -xO 2>/dev/null; true"

    @staticmethod
    def default() -> Renewal | None:
        """No report."""
        return None

    def process(self, output: list[str]) -> Renewal | None:
        """Parse the report."""
        with suppress(ValueError, LookupError, TypeError):
            return Renewal.parse("\n".join(output))
        return None
