"""The commands that change what runs, with what is said while they wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyinfra.api import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput

from deploy.artefacts import Artefacts
from deploy.operations.script import ScriptCommand
from deploy.secrets import SecretStore
from deploy.services import Unit

SCRIPT = "container.sh"
SPARE_SECONDS = 1800
"""For what a container does to stop, and for a slow host."""


class ContainerCommand(ScriptCommand):
    """Changes containers and services; every few seconds it says what one has logged last.

    Args:
        arguments: of the script.
        waits_for: the unit that is waited for.
        waits_seconds: how long it and others with it have to become healthy.
        secrets: what must not be in any output.
        stdin: the secret part of the environment.
    """

    def __init__(
        self,
        *arguments: str,
        waits_for: Unit,
        waits_seconds: int,
        secrets: SecretStore,
        stdin: str = "",
    ) -> None:
        super().__init__(SCRIPT, *arguments, stdin=stdin, redact=secrets.redact)
        # the new ones, those before them after a failure, and another run's turn before
        self.timeout_seconds = waits_seconds * 4 + SPARE_SECONDS
        self._unit = waits_for
        self._host: Host | None = None
        self._arguments: dict[str, Any] = {}

    def execute(
        self, state: State, host: Host, connector_arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Run it."""
        self._host = host
        self._arguments = {
            name: value for name, value in connector_arguments.items() if name != "_stdin"
        }
        return super().execute(state, host, connector_arguments)

    def _message(self, seconds: float) -> str:
        said = self._last_line()
        waiting = f"waiting until {self._unit.name} is healthy: {seconds:.0f} s"
        return f"{waiting}; it says: {said}" if said else waiting

    def _last_line(self) -> str:
        """The last line of its log."""
        if self._host is None:
            return ""
        words = [QuoteString(word) for word in self._unit.runs.last_line_command]
        command = StringCommand(*words, "2>&1")
        succeeded, output = self._host.run_shell_command(command, **self._arguments)
        return self._redact(output.output.strip())[-200:] if succeeded else ""


def replace(unit: Unit, artefacts: Artefacts) -> ContainerCommand:
    """A new one takes the place of the one there is, if there is one."""
    return _create("relieve" if unit.gives_way else "replace", unit, artefacts)


def prepare(unit: Unit, artefacts: Artefacts) -> ContainerCommand:
    """A new one is created, and not started yet."""
    return _create("prepare", unit, artefacts)


def swap(
    names: Sequence[str], fresh: Sequence[Unit], artefacts: Artefacts, keeping: Sequence[str] = ()
) -> ContainerCommand:
    """What was prepared starts, when all that have these names are stopped.

    Args:
        names: units that change together, also those that go.
        fresh: those that are to run, in the order in which they start.
        artefacts: the deployment.
        keeping: those that go later, as there is something in them that goes before.
    """
    kept = [f"keep={','.join(keeping)}"] if keeping else []
    started = [part for unit in fresh for part in (unit.name, str(unit.start_timeout_seconds))]
    return ContainerCommand(
        *("swap", ",".join(names), "0", *kept, *started),
        waits_for=fresh[-1],
        waits_seconds=sum(unit.start_timeout_seconds for unit in fresh),
        secrets=artefacts.secrets,
    )


def start(action: str, unit: Unit, artefacts: Artefacts) -> ContainerCommand:
    """One that is there is started, restarted, or made to start with the host."""
    return ContainerCommand(
        *(action, unit.name, str(unit.start_timeout_seconds)),
        waits_for=unit,
        waits_seconds=unit.start_timeout_seconds,
        secrets=artefacts.secrets,
    )


def remove(name: str) -> ScriptCommand:
    """What is called so goes."""
    return ScriptCommand(SCRIPT, "remove", name, "0", redact=str, progress="removing it")


def ready(unit: Unit, artefacts: Artefacts) -> ContainerCommand:
    """One that is there can be stopped and started again."""
    return start("ready", unit, artefacts)


def clean(unit: Unit, artefacts: Artefacts) -> ContainerCommand:
    """What an interrupted change left goes, or ends with its last answer."""
    return start("settle" if unit.gives_way else "clean", unit, artefacts)


def _create(action: str, unit: Unit, artefacts: Artefacts) -> ContainerCommand:
    runs, secrets = unit.runs, artefacts.secrets
    return ContainerCommand(
        *(action, unit.name, str(unit.start_timeout_seconds)),
        *runs.create_options,
        *unit.create_arguments(artefacts.plan.name, secrets.digest),
        waits_for=unit,
        waits_seconds=unit.start_timeout_seconds,
        secrets=secrets,
        stdin=runs.secret_environment(secrets.render),
    )
