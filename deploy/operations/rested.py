"""Units that rest while something is done to their host: requests first go elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.facts.units import Units
from deploy.operations.container_command import start
from deploy.operations.drained import away_command, back_command, quiet_command
from deploy.operations.everywhere import run_on
from deploy.operations.questions import units_question
from deploy.operations.script import ScriptCommand
from deploy.operations.unit_changes import host_changes
from deploy.services import Unit

SCRIPT = "rest.sh"
STOP_SECONDS = 60
"""So long a unit may take to end what it is at."""
OTHER_SECONDS = 600
"""So long one that the plan no longer has may take to become healthy."""
UP_SECONDS = 120
"""So long Docker may take to answer after a restart of its host."""


def serving(artefacts: Artefacts) -> tuple[Unit, ...]:
    """Units that run on the current host, in the order in which they start."""
    found = look.ask(Units, **units_question(artefacts, host.name))
    running = {
        live.name
        for live in found.everything
        if live.state == "running" and live.deployment == artefacts.plan.name
    }
    return tuple(unit for unit in artefacts.stack.on(host.name) if unit.name in running)


def on_gpus(artefacts: Artefacts) -> tuple[tuple[Unit, ...], tuple[str, ...]]:
    """Units of the current host that use GPUs, and names of those that do not start again there.

    Those are to be replaced or removed: an old container may name a GPU that is no longer whole.
    """
    found = look.ask(Units, **units_question(artefacts, host.name))
    changes = host_changes(artefacts, host.name, found)
    changing = {name for name, each in changes.units.items() if each.runs}
    using = {
        live.name
        for live in found.everything
        if live.state == "running" and live.deployment == artefacts.plan.name and live.holds.gpus
    }
    units = tuple(unit for unit in artefacts.stack.on(host.name) if unit.name in using)
    staying = {unit.name for unit in units} - changing
    return units, tuple(sorted(using - staying))


def told(units: Iterable[Unit], artefacts: Artefacts) -> tuple[str, ...]:
    """What a dry run says of units that rest: a line for each."""
    return tuple(
        f"{unit.name} rests meanwhile; "
        + (
            "another host serves the same"
            if artefacts.stack.stands_in(unit)
            else "nothing else serves it"
        )
        for unit in units
    )


class RestedCommand(PyinfraCommand):
    """Does something to a host while units of it rest.

    Routers send them nothing more and what was asked before is answered; they are stopped, those
    that depend on others first; then the work is done, they start in the other order, each until
    it is healthy, and requests come to it again. One that does not become healthy gets none.

    Args:
        work: what is done.
        units: those that run, in the order in which they start.
        artefacts: the deployment.
        leaving: names of those, and of others that are stopped, too, which do not start again
            unless the work has failed: the deployment replaces or removes them.
        starts_anyway: whether all start again when the work has failed.
    """

    def __init__(
        self,
        work: Sequence[PyinfraCommand],
        units: Sequence[Unit],
        artefacts: Artefacts,
        *,
        leaving: Sequence[str] = (),
        starts_anyway: bool = False,
    ) -> None:
        super().__init__()
        self.work = work
        self.units = units
        self.artefacts = artefacts
        self.leaving = leaving
        self.starts_anyway = starts_anyway

    def __repr__(self) -> str:
        return f"RestedCommand({len(self.units)} units)"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Run it; whether the work was done, and every unit is healthy again."""
        self._send_elsewhere(state, host, connector_arguments)
        names = [*(unit.name for unit in reversed(self.units)), *self._others]
        stop = _script(f"stopping {len(names)} units", "stop", str(STOP_SECONDS), *names)
        before = [stop, *self.work] if names else self.work
        done = all(_succeeds(each, state, host, connector_arguments) for each in before)
        if not (done or (self.starts_anyway and host.connected)):
            return False
        return self._start(state, host, connector_arguments, failed=not done) and done

    @property
    def _others(self) -> list[str]:
        """Those of an older plan."""
        known = {unit.name for unit in self.units}
        return [name for name in self.leaving if name not in known]

    def _send_elsewhere(self, state: State, host: Host, arguments: Any) -> None:
        routed = [(u, u.route) for u in self.units if u.route and u.drain_seconds]
        for unit, route in routed:
            run_on(route.host, away_command(unit, route), state, host, arguments)
        for unit, route in routed:
            where = route.asked_on or host.name
            run_on(where, quiet_command(unit, route), state, host, arguments)

    def _start(self, state: State, host: Host, arguments: Any, *, failed: bool) -> bool:
        starting = [unit for unit in self.units if failed or unit.name not in self.leaving]
        others = self._others if failed else []
        if not (starting or others):
            return True
        up = _script("waiting for Docker", "up", str(UP_SECONDS))
        if not _succeeds(up, state, host, arguments):
            return False
        for unit in starting:
            if not _succeeds(start("start", unit, self.artefacts), state, host, arguments):
                return False
            if unit.route and not unit.route.stands_behind:
                back = back_command(unit, unit.route)
                run_on(unit.route.host, back, state, host, arguments)
        return all(_succeeds(_start_other(name), state, host, arguments) for name in others)


def _succeeds(command: PyinfraCommand, state: State, host: Host, arguments: Any) -> bool:
    """Run one command; what it says when it fails is shown."""
    given: Any = dict(arguments)
    outcome = command.execute(state, host, given)
    if not isinstance(outcome, tuple):
        return outcome is not False
    succeeded, output = outcome
    if not succeeded:
        for line in output:
            host.log(line.line)
    return bool(succeeded)


def _start_other(name: str) -> ScriptCommand:
    """A container that the plan no longer has serves again."""
    return ScriptCommand("container.sh", "start", name, str(OTHER_SECONDS), redact=str)


def _script(progress: str, *arguments: str) -> ScriptCommand:
    return ScriptCommand(SCRIPT, *arguments, redact=str, progress=progress)
