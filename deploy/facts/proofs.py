"""What was proven of a host's cards before."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

RECORD = "proven-gpus"
"""In the deployment's own directory: a line for each image, with the digest of what was proven."""


class Proofs(FactBase[dict[str, str]]):
    """Digest of what was proven last, by image."""

    def command(self, directory: str) -> str:
        """Print the record.

        Args:
            directory: the deployment's own directory on the host.
        """
        return f"cat {shlex.quote(f'{directory}/{RECORD}')} 2>/dev/null; true"

    @staticmethod
    def default() -> dict[str, str]:
        """Nothing."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """A line is an image and a digest."""
        rows = (line.split() for line in output)
        return {row[0]: row[1] for row in rows if len(row) == 2}
