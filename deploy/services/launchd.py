"""A daemon of launchd as Atelier wants it, on macOS: pure data, and its property list.

Keys: launchd.plist(5), https://keith.github.io/xcode-man-pages/launchd.plist.5.html. launchd runs
what is in the system's own directory when the Mac starts, without anybody logging in.
"""

from __future__ import annotations

import plistlib
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field

from deploy.plan.addresses import host_and_port
from deploy.services.host_service import HostService, sha256
from deploy.services.runs import (
    Facts,
    Marks,
    RenderSecret,
    SecretDigest,
    Secrets,
    canonical_json,
)
from deploy.spec import SecretText

DAEMONS = PurePosixPath("/Library/LaunchDaemons")
"""Where launchd reads property lists of the system's daemons, each called after its label."""
LOGS = PurePosixPath("/var/log/atelier")
"""Where daemons write what they print, each to a file of its own."""


class LaunchdSpec(HostService):
    """Everything that decides how a daemon of launchd runs.

    Its name is its label, and the name of its property list, without ``.plist``. launchd limits no
    memory.
    """

    kind: Literal["launchd"] = "launchd"
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables; every user of a Mac sees them, so no secret may be among them."""
    user: str
    directory: PurePosixPath
    """Its own directory for data, which belongs to its account; also its ``HOME``."""
    restart_seconds: int = 10
    """Between two starts, at least."""

    @property
    def secret_env(self) -> dict[str, SecretText]:
        """None."""
        return {}

    @property
    def log(self) -> PurePosixPath:
        """Where what it prints is on the host."""
        return LOGS / f"{self.name}.log"

    @property
    def last_line_command(self) -> tuple[str, ...]:
        """Ask its log."""
        return ("tail", "-n", "1", str(self.log))

    def public(self, digest: SecretDigest) -> dict[str, Any]:  # noqa: ARG002 - it has no secrets
        """The whole description as plain data."""
        return self.model_dump(mode="json", exclude={"kind"})

    def property_list(self) -> dict[str, Any]:
        """What launchd reads, by the names that launchd.plist(5) has."""
        files = {"NumberOfFiles": self.open_files}
        return {
            "Label": self.name,
            "ProgramArguments": list(self.command),
            "EnvironmentVariables": {"HOME": str(self.directory)} | self.env,
            "UserName": self.user,
            "WorkingDirectory": str(self.directory),
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": self.restart_seconds,
            "ExitTimeOut": self.stop_timeout_seconds,
            # else launchd slows it down, as what nothing on the screen waits for
            "ProcessType": "Interactive",
            "SoftResourceLimits": files,
            "HardResourceLimits": files,
            "StandardOutPath": str(self.log),
            "StandardErrorPath": str(self.log),
            "Umask": 0o077,
        }

    @property
    def unit_file(self) -> str:
        """The text of its property list."""
        return plistlib.dumps(self.property_list()).decode()

    def marks_file(self, marks: Marks, digest: SecretDigest) -> str:
        """What is written down of it next to its property list, which has no room for it."""
        values = {
            "Deployment": marks.deployment,
            "Service": self.service,
            "Holds": marks.holds,
            "User": self.user,
            "Program": self.command[0],
            "Listens": host_and_port(self.address, self.port),
            "Directory": str(self.directory),
            "Log": str(self.log),
            "Health": self.health,
            "StartPeriod": self.start_period_seconds,
            "Spec": canonical_json(self.public(digest)),
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())

    def create_arguments(self, marks: Marks, digest: SecretDigest) -> list[str]:
        """The script is given the property list and what is written down of it."""
        return [self.unit_file, self.marks_file(marks, digest)]

    def secret_environment(self, render: RenderSecret) -> str:  # noqa: ARG002 - it has no secrets
        """Empty."""
        return ""

    def facts(self, marks: Marks, image_id: str | None, secrets: Secrets) -> Facts:  # noqa: ARG002
        """sha256 of its property list, and of what is written down of it."""
        return {
            "live unit file": ("", sha256(self.unit_file)),
            "live marks file": ("", sha256(self.marks_file(marks, secrets.digest))),
        }
