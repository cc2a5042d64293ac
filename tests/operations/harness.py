"""Runs an operation's body against made-up facts, without pyinfra's run around it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pyinfra.api import FactBase
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.context import ctx_host, ctx_state

from deploy.operations.lock import TakeLock

Facts = Mapping[type[FactBase[Any]], Any]


@dataclass
class FakeHost:
    """A host that knows only the facts it is given."""

    facts: Facts
    name: str = "h1"
    print_prefix: str = ""
    said: list[str] = field(default_factory=list)
    noops: list[str] = field(default_factory=list)
    connector: object = None
    connector_data: dict[str, object] = field(default_factory=dict)
    data: dict[str, object] = field(default_factory=dict)

    def get_fact(self, fact: type[FactBase[Any]], **arguments: Any) -> Any:
        """The made-up fact; arguments that the real one does not take are refused."""
        inspect.signature(fact.command).bind(fact, **arguments)
        return self.facts[fact]

    def log(self, message: str) -> None:
        """Remember what would be printed."""
        self.said.append(message)

    def noop(self, description: str) -> None:
        """Remember why nothing is done."""
        self.noops.append(description)


@dataclass
class Outcome:
    """What an operation would do."""

    commands: list[PyinfraCommand]
    """Without what takes the lock."""
    host: FakeHost
    all_commands: list[PyinfraCommand] = field(default_factory=list)

    @property
    def shell(self) -> list[str]:
        """The shell commands as they are run, secrets unmasked."""
        return [
            command.get_raw_value()
            for command in self.commands
            if isinstance(command, StringCommand)
        ]

    @property
    def shown(self) -> str:
        """Everything of the commands that pyinfra may print."""
        shown = [str(command) + repr(command) for command in self.commands]
        strings = [c for c in self.commands if isinstance(c, StringCommand)]
        shown += [c.get_raw_value() + c.get_masked_value() for c in strings]
        return "\n".join([*shown, *self.host.said, *self.host.noops])

    @property
    def stdin(self) -> list[str]:
        """What the commands read."""
        return [str(c.connector_arguments["_stdin"]) for c in self.commands if _reads(c)]


def words(command: Any) -> list[str]:
    """The action and the arguments with which a script is called."""
    return [getattr(bit, "obj", bit) for bit in command.bits[4:]]


def _reads(command: PyinfraCommand) -> bool:
    return "_stdin" in command.connector_arguments


def run(
    operation: Any, facts: Facts | FakeHost, *, executing: bool = False, **arguments: Any
) -> Outcome:
    """Run an operation's body in the way of a dry run with ``--diff``, or of a real run."""
    host = facts if isinstance(facts, FakeHost) else FakeHost(facts)
    state = SimpleNamespace(
        config=SimpleNamespace(DIFF=True), is_executing=executing, inventory=[host]
    )
    with ctx_state.use(state), ctx_host.use(host):
        commands = list(operation._inner(**arguments))
    changes = [command for command in commands if not isinstance(command, TakeLock)]
    return Outcome(changes, host, commands)
