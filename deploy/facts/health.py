"""Whether a container becomes healthy."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

from deploy.scripts import read_script


class Health(FactBase[str]):
    """Waits until a container is healthy; empty, or why it is not."""

    def command(self, container: str, timeout_seconds: int) -> str:
        """Wait on the host."""
        script = shlex.quote(read_script("container.sh"))
        return f"sh -c {script} atelier wait {shlex.quote(container)} {timeout_seconds} || true"

    @staticmethod
    def default() -> str:
        """Healthy."""
        return ""
