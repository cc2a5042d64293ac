"""What services of a host have in common, whether systemd runs them or launchd."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from deploy.services.runs import Part

SERVICES = PurePosixPath("/etc/atelier/services")
"""Where the scripts keep what they were told of each service, for root alone."""


class HostService(Part):
    """What decides how a service of a host runs, under either system."""

    kind: str
    """The system that runs it, as the scripts call it."""
    name: str
    """What that system calls it, and its directory for data is called."""
    service: str
    version: str
    """Version of the program."""
    command: tuple[str, ...]
    """Absolute path of the program, and its arguments."""
    user: str = ""
    """Account that it runs as."""
    memory_bytes: int
    """Memory that it needs."""
    open_files: int = 65536
    restart_seconds: int
    """Between its end and the next start."""
    stop_timeout_seconds: int = 30
    """How long it may take to finish what it answers."""
    address: str
    """Address of the host that it listens on."""
    port: int
    health: str
    """Shell command on the host; exit status 0 is healthy."""
    start_period_seconds: int
    """How long it may take to become healthy."""

    @property
    def noun(self) -> str:
        """What it is called."""
        return "service"

    @property
    def made_from(self) -> tuple[str, str]:
        """Its version."""
        return "version", self.version

    @property
    def listens(self) -> tuple[tuple[str, int], ...]:
        """Where it listens."""
        return ((self.address, self.port),)

    @property
    def volumes(self) -> tuple[str, ...]:
        """None: it has a directory of its own."""
        return ()

    @property
    def create_options(self) -> tuple[str, ...]:
        """The script is told what it is."""
        return (self.kind,)


def data_directory(deployment: str) -> PurePosixPath:
    """Where the services of a deployment keep their data, each in a directory of its own."""
    return PurePosixPath("/var/lib") / f"atelier.{deployment}"


def sha256(text: str) -> str:
    """Digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
