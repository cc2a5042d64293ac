"""Whether a container becomes healthy."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

from deploy.pyinfra_connection import PatientCommand
from deploy.scripts import read_script

SPARE_SECONDS = 900


class Health(FactBase[str]):
    """Waits until a container is healthy; empty, or why it is not."""

    def command(self, container: str, timeout_seconds: int) -> PatientCommand:
        """Wait on the host."""
        script = shlex.quote(read_script("container.sh"))
        name = shlex.quote(container)
        wait = f"sh -c {script} atelier wait {name} {timeout_seconds} || true"
        # the script first waits for another run that changes the container: twice that, and 600 s
        return PatientCommand(wait, timeout_seconds * 3 + SPARE_SECONDS)

    @staticmethod
    def default() -> str:
        """Healthy."""
        return ""
