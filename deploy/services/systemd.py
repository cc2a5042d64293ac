"""A service of systemd as Atelier wants it: pure data, its unit file, its environment.

Settings: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html, quoting in
command lines: systemd.service(5), in environment files: EnvironmentFile= of systemd.exec(5).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field

from deploy.render import render
from deploy.services.host_service import SERVICES, HostService, data_directory, sha256
from deploy.services.runs import (
    Facts,
    Marks,
    RenderSecret,
    SecretDigest,
    Secrets,
    canonical_json,
    plain,
    secret,
)
from deploy.spec import SecretText

PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
"""Words that systemd reads as they are."""


class SystemdSpec(HostService):
    """Everything that decides how a service of systemd runs.

    Its name is that of the unit, without ``.service``. Where it has no account, systemd makes one
    for it as it starts. ``memory_bytes`` is a limit.
    """

    kind: Literal["systemd"] = "systemd"
    env: dict[str, str | SecretText] = Field(default_factory=dict)
    tasks_max: int = 2048
    restart_seconds: int = 2
    read_write_paths: tuple[PurePosixPath, ...] = ()
    """Directories that it may write to, apart from its own."""

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
