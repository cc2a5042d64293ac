"""What a unit runs as: a container or a service of the host. All kinds offer the same.

Nothing outside of this room, of the scripts and of what reads hosts asks which kind it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from deploy.spec import SecretText

SecretDigest = Callable[[SecretText], str]
"""A keyed digest of a text with secrets in it."""
Facts = dict[str, tuple[str, str]]
"""What can be changed although the description stays as it is: the declared field that it belongs
to, empty for all of them, and how it must be, by its name."""
RenderSecret = Callable[[SecretText], str]
"""The text with the secrets in it."""


class Part(BaseModel):
    """A part of a unit's description: immutable."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class Secrets(Protocol):
    """What a description needs of secrets to become something on a host."""

    def digest(self, text: SecretText) -> str:
        """A keyed digest of a text with secrets in it."""

    def render(self, text: SecretText) -> str:
        """The text with the secrets in it."""


@dataclass(frozen=True)
class Marks:
    """What is written on it, for the next run to know whose it is and what it holds."""

    deployment: str
    holds: str


class Runs(Protocol):
    """What every kind offers."""

    @property
    def name(self) -> str:
        """Its name on the host."""

    @property
    def service(self) -> str:
        """Which system it is, e.g. ``llama-cpp``."""

    @property
    def memory_bytes(self) -> int:
        """The most memory that it may use."""

    @property
    def noun(self) -> str:
        """What it is called, e.g. ``container``."""

    @property
    def made_from(self) -> tuple[str, str]:
        """The field that says what it is made from, and its value."""

    @property
    def listens(self) -> tuple[tuple[str, int], ...]:
        """Addresses and ports of the host that it answers on."""

    @property
    def secret_env(self) -> dict[str, SecretText]:
        """Environment variables that may not be seen."""

    @property
    def last_line_command(self) -> tuple[str, ...]:
        """Command that prints the last line of its log."""

    def public(self, digest: SecretDigest) -> dict[str, Any]:
        """The whole description as plain data, with digests in the place of secrets."""

    @property
    def volumes(self) -> tuple[str, ...]:
        """Names of its volumes."""

    @property
    def create_options(self) -> tuple[str, ...]:
        """What the script is told before the arguments that create it."""

    def create_arguments(self, marks: Marks, digest: SecretDigest) -> list[str]:
        """The arguments that create it, without secrets."""

    def facts(self, marks: Marks, image_id: str | None, secrets: Secrets) -> Facts:
        """How it must be where that is not read from its description."""

    def secret_environment(self, render: RenderSecret) -> str:
        """The secret part of its environment, as the script reads it."""


def plain(env: dict[str, str | SecretText]) -> dict[str, str]:
    """Environment variables that may be seen."""
    return {name: value for name, value in env.items() if isinstance(value, str)}


def secret(env: dict[str, str | SecretText]) -> dict[str, SecretText]:
    """Environment variables that may not."""
    return {name: value for name, value in env.items() if isinstance(value, SecretText)}


def canonical_json(data: Any) -> str:
    """Data as JSON text that is the same whenever the data is."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
