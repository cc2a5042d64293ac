"""A service of systemd as Atelier wants it: pure data, its unit file, its environment.

Settings: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html, quoting in
command lines: systemd.service(5), in environment files: EnvironmentFile= of systemd.exec(5).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field

from deploy.render import render
from deploy.services.runs import (
    Facts,
    Marks,
    Part,
    RenderSecret,
    SecretDigest,
    Secrets,
    canonical_json,
    plain,
    secret,
)
from deploy.spec import SecretText

SERVICES = PurePosixPath("/etc/atelier/services")
"""Where the script keeps the environment of each service, for root alone."""
PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
"""Words that systemd reads as they are."""


class SystemdSpec(Part):
    """Everything that decides how a service of systemd runs."""

    kind: Literal["systemd"] = "systemd"
    name: str
    """Name of the unit, without ``.service``, and of its directory for data."""
    service: str
    version: str
    """Version of the program."""
    command: tuple[str, ...]
    """Absolute path of the program, and its arguments."""
    env: dict[str, str | SecretText] = Field(default_factory=dict)
    user: str = ""
    """Account that it runs as; empty for one that systemd makes for it as it starts."""
    memory_bytes: int
    tasks_max: int = 2048
    open_files: int = 65536
    restart_seconds: int = 2
    """Between its end and the next start."""
    stop_timeout_seconds: int = 30
    """How long it may take to finish what it answers."""
    read_write_paths: tuple[PurePosixPath, ...] = ()
    """Directories that it may write to, apart from its own."""
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
    def secret_env(self) -> dict[str, SecretText]:
        """Environment variables that may not be seen."""
        return secret(self.env)

    @property
    def last_line_command(self) -> tuple[str, ...]:
        """Ask the journal."""
        unit = f"{self.name}.service"
        return ("journalctl", "--unit", unit, "--lines", "1", "--output", "cat", "--no-pager")

    @property
    def environment_file(self) -> PurePosixPath:
        """Where the secret part of its environment is on the host."""
        return SERVICES / self.name / "environment"

    def public(self, digest: SecretDigest) -> dict[str, Any]:
        """The whole description as plain data, with digests in the place of secrets."""
        data = self.model_dump(mode="json", exclude={"kind"}) | {"env": plain(self.env)}
        data["secret_env"] = {name: digest(text) for name, text in self.secret_env.items()}
        return data

    def unit_file(self, marks: Marks, digest: SecretDigest) -> str:
        """The text of its unit file, which has no secrets."""
        return render(
            "systemd/unit.service.j2",
            **self.model_dump(include=RENDERED),
            description=specifiers(f"{self.service} of {marks.deployment}"),
            command=" ".join(command_word(word) for word in self.command),
            environment=[
                specifiers(quoted(f"{name}={value}"))
                for name, value in sorted(plain(self.env).items())
            ],
            state_directory=f"{data_directory(marks.deployment).name}/{self.name}",
            environment_file=self.environment_file,
            marks={
                "Deployment": marks.deployment,
                "Service": self.service,
                "Holds": marks.holds,
                "Health": self.health,
                "StartPeriod": self.start_period_seconds,
                "Spec": canonical_json(self.public(digest)),
            },
        )

    @property
    def volumes(self) -> tuple[str, ...]:
        """None: it has a directory of its own."""
        return ()

    @property
    def create_options(self) -> tuple[str, ...]:
        """The script is told what it is."""
        return (self.kind,)

    def create_arguments(self, marks: Marks, digest: SecretDigest) -> list[str]:
        """The script is given the unit file."""
        return [self.unit_file(marks, digest)]

    def secret_environment(self, render: RenderSecret) -> str:
        """The text of its environment file."""
        values = sorted(self.secret_env.items())
        return "".join(f"{name}={secret_value(render(text))}\n" for name, text in values)

    def facts(self, marks: Marks, image_id: str | None, secrets: Secrets) -> Facts:  # noqa: ARG002
        """sha256 of its unit file, which follows from every field, and of its environment file."""
        return {
            "live unit file": ("", sha256(self.unit_file(marks, secrets.digest))),
            "live environment file": (
                "secret_env",
                sha256(self.secret_environment(secrets.render)),
            ),
        }


RENDERED = {
    *("user", "memory_bytes", "tasks_max", "open_files"),
    *("restart_seconds", "stop_timeout_seconds", "read_write_paths"),
}
"""Fields that stand in the unit file as they are."""


def data_directory(deployment: str) -> PurePosixPath:
    """Where the services of a deployment keep their data, each in a directory of its own."""
    return PurePosixPath("/var/lib") / f"atelier.{deployment}"


def sha256(text: str) -> str:
    """Digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def quoted(word: str) -> str:
    """A word as systemd reads it back."""
    if PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def specifiers(text: str) -> str:
    """Text in which ``%`` stands for itself."""
    return text.replace("%", "%%")


def command_word(word: str) -> str:
    """A word of a command line: no variable in it is looked up."""
    return specifiers(quoted(word)).replace("$", "$$")


def secret_value(value: str) -> str:
    """A value in an environment file."""
    escaped = re.sub(r'(["\\`$])', r"\\\1", value)
    return f'"{escaped}"'
