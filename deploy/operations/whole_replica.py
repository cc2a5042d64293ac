"""A replica on several hosts changes as one: all of it is new and healthy, or as it was before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.operations.commands import show_failure
from deploy.operations.container_command import SCRIPT, ContainerCommand
from deploy.operations.everywhere import run_on
from deploy.operations.ollama_model import emptied
from deploy.operations.progress import telling
from deploy.operations.replica_changes import Part
from deploy.operations.script import ScriptCommand

POLL_SECONDS = 1
FAILED = "failed "
"""Before what `container.sh` glances at that will not become healthy, and what cannot be asked."""
ELSEWHERE = "is on a host that this run does not go to"
Step = Callable[[Part], ScriptCommand]


@dataclass(frozen=True)
class Said:
    """What came of a step on one host."""

    part: Part
    succeeded: bool
    lines: tuple[str, ...]


class WholeCommand(ContainerCommand):
    """Replaces the units of a replica on all its hosts; everything new was prepared before.

    All of them stop before the first one starts: an old one must not meet a new one. The new ones
    become healthy together, or those before start again on every host, and the command fails. A run
    that is killed leaves names that the next one goes on from, as ``container.sh`` says.

    Args:
        parts: what happens on each host; the one that is asked comes first.
        artefacts: the deployment.
    """

    def __init__(self, parts: Sequence[Part], artefacts: Artefacts) -> None:
        asked = parts[0]
        super().__init__(
            *("halt", ",".join(asked.names), "0", _words(asked.gone)),
            waits_for=asked.unit,
            waits_seconds=asked.unit.start_timeout_seconds,
            secrets=artefacts.secrets,
        )
        self.parts = tuple(parts)
        self._artefacts = artefacts

    def execute(
        self, state: State, host: Host, connector_arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Change it, or bring everything back."""
        self._host, self._state = host, state
        self._arguments = {k: v for k, v in connector_arguments.items() if k != "_stdin"}
        try:
            succeeded = self._change()
        finally:
            self._forget()
        return succeeded, CommandOutput([])

    def _change(self) -> bool:
        halted = self._take(self._step("halt", lambda part: _words(part.gone)))
        if halted and self._take(self._launch):
            problem = self._wait(lambda part: part.runs)
            if not problem:
                return self._take(self._clean) and self._empty()
            self._show(problem)
            self._take(self._tell, show=True)
        self._go_back()
        return False

    def _empty(self) -> bool:
        """Models go with what made room, which could come back until now."""
        return all(
            self._succeeded([self._on(part, command)])
            for part in self.parts
            for command in emptied(part.models)
        )

    def _go_back(self) -> None:
        """New ones go on all hosts before an old one starts."""
        if not any(part.has_former or part.new for part in self.parts):
            return
        self._take(self._step("drop", lambda part: _words(part.new)), show=True)
        self._take(self._step("revive"), show=True)
        asked = self.parts[0]
        if not asked.has_former:
            return
        problem = self._wait(lambda part: tuple(n for n in part.runs if n not in part.new))
        what = f"{asked.unit.name}: the containers before it"
        if problem:
            self._show(f"{what} were started again on all hosts, but {problem}")
        else:
            self._show(f"{what} serve again on all hosts")

    def _wait(self, names: Callable[[Part], tuple[str, ...]]) -> str:
        """Wait until units of all hosts are healthy; why not, if they do not become so."""
        seconds = self._unit.start_timeout_seconds
        deadline = time.monotonic() + seconds
        assert self._host is not None  # noqa: S101 - set before
        with telling(self._host, self._message):
            while True:
                rows = self._glance(names)
                failed = [row for row in rows if row[0] == "failed"]
                waiting = [row for row in rows if row[0] == "wait"]
                if failed or not waiting:
                    return "; ".join(why for _, why in failed)
                if time.monotonic() > deadline:
                    told = "; ".join(why for _, why in waiting)
                    return f"{told}; it had {seconds} s to become healthy"
                gevent.sleep(POLL_SECONDS)

    def _take(self, step: Step, *, show: bool = False) -> bool:
        """Take a step on all hosts; what is said of it is shown where it fails, or always."""
        return self._succeeded(self._everywhere(step, self.parts), show=show)

    def _succeeded(self, said: Sequence[Said], *, show: bool = False) -> bool:
        """Whether a step was taken everywhere; what is said of it is shown as ``_take`` says."""
        for each in said:
            if show or not each.succeeded:
                lines = [line.removeprefix(FAILED) for line in each.lines]
                self._show("\n".join(lines), each.part)
        return all(each.succeeded for each in said)

    def _everywhere(self, step: Step, parts: Sequence[Part]) -> list[Said]:
        """Take a step on several hosts at the same time."""
        running = [gevent.spawn(self._on, part, step(part)) for part in parts]
        gevent.joinall(running, raise_error=True)
        return [each.get() for each in running]

    def _on(self, part: Part, command: ScriptCommand) -> Said:
        assert self._host is not None  # noqa: S101 - set before
        name = part.unit.host
        try:
            ran = run_on(name, command, self._state, self._host, self._arguments)
        except CONNECTION_ERRORS as error:
            return Said(part, False, (f"{FAILED}{part.unit.name} cannot be reached: {error}",))
        succeeded, output = ran or (False, CommandOutput([]))
        lines = tuple(line.line for line in output)
        return Said(part, succeeded, lines if ran else (f"{FAILED}{part.unit.name} {ELSEWHERE}",))

    def _step(self, action: str, more: Callable[[Part], str] | None = None) -> Step:
        def step(part: Part) -> ScriptCommand:
            arguments = (action, ",".join(part.names), "0", *([more(part)] if more else []))
            return self._script(*arguments)

        return step

    def _launch(self, part: Part) -> ScriptCommand:
        return self._script("launch", ",".join(part.runs), "0")

    def _clean(self, part: Part) -> ScriptCommand:
        # those with models stay set aside until these are removed
        names = [name for name in part.names if name not in part.models]
        return self._script("clean", ",".join(names), "0")

    def _glance(self, names: Callable[[Part], tuple[str, ...]]) -> list[tuple[str, str]]:
        """How far each unit is, and the same in words."""
        asked = [part for part in self.parts if names(part)]
        said = self._everywhere(lambda p: self._script("glance", ",".join(names(p)), "0"), asked)
        return [row for each in said for row in _states(each)]

    def _tell(self, part: Part) -> ScriptCommand:
        return self._script("tell", part.unit.name, "0")

    def _script(self, *arguments: str) -> ScriptCommand:
        progress = f"changing {self._unit.name} on {len(self.parts)} hosts"
        redact = self._artefacts.secrets.redact
        return ScriptCommand(SCRIPT, *arguments, redact=redact, progress=progress)

    def _show(self, message: str, part: Part | None = None) -> None:
        name = part.unit.host if part else self.parts[0].unit.host
        if message:
            show_failure(self._state.inventory.get_host(name), message)

    def _forget(self) -> None:
        """What was seen of the other hosts holds no longer."""
        for part in self.parts:
            with ctx_host.use(self._state.inventory.get_host(part.unit.host)):
                look.forget()


def _states(said: Said) -> list[tuple[str, str]]:
    """How far each unit of a host is, and the same in words."""
    rows = [line.split(" ", 2) for line in said.lines if line.count(" ") > 1]
    where = said.part.unit.host
    found = [(word, f"{name} on {where} {why}") for word, name, why in rows]
    if not found:
        return [("failed", f"{said.part.unit.name} on {where} cannot be asked for")]
    return found


def _words(names: frozenset[str]) -> str:
    return ",".join(sorted(names)) or "-"
