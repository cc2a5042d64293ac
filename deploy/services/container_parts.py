"""Parts of a container's description, each with how Docker's command line spells it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from deploy.plan.addresses import host_and_port
from deploy.services.runs import Part


class Mount(Part):
    """A volume or a directory of the host, seen inside the container."""

    kind: Literal["volume", "bind"]
    """A named volume, or a directory of the host."""
    source: str
    """Name of the volume, or absolute path on the host."""
    read_only: bool = False
    """Whether the container may only read it."""

    def argument(self, target: PurePosixPath) -> str:
        """The value of ``--mount``.

        Args:
            target: path inside the container.
        """
        argument = f"type={self.kind},source={self.source},target={target}"
        return f"{argument},readonly" if self.read_only else argument


class Port(Part):
    """A port of the container, published on an address of the host."""

    host_ip: str
    host_port: int
    container_port: int

    @property
    def argument(self) -> str:
        """The value of ``--publish``."""
        return f"{host_and_port(self.host_ip, self.host_port)}:{self.container_port}"


class HealthCheck(Part):
    """How Docker finds out whether the service answers."""

    command: str
    """Shell command inside the container; exit status 0 is healthy."""
    interval_seconds: int = 30
    """Between two checks of a container that runs."""
    start_interval_seconds: int = 2
    """Between two checks of one that starts, where Docker has such a setting (25 and newer)."""
    timeout_seconds: int = 5
    start_period_seconds: int
    """Failures within this time after the start do not count."""
    retries: int = 3

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its options, without the intervals."""
        return (
            *("--health-cmd", self.command),
            *("--health-timeout", f"{self.timeout_seconds}s"),
            *("--health-start-period", f"{self.start_period_seconds}s"),
            *("--health-retries", str(self.retries)),
        )
