"""Units that get no new requests while they are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from pyinfra.api import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput

from deploy.operations.everywhere import run_on
from deploy.operations.script import ScriptCommand
from deploy.services import Route, Unit

SCRIPT = "drain.sh"
SPARE_SECONDS = 300
"""How much longer requests stay away than replacing the unit may take."""


class DrainedCommand(StringCommand):
    """Replaces units while nothing is sent to them, and what was sent before has been answered.

    Requests come back however the command ends. Where they are sent from another host that this
    run does not go to, they are not kept away.

    Args:
        command: what replaces the units.
        units: those that answer requests now.
    """

    def __init__(self, command: ScriptCommand, units: Sequence[Unit]) -> None:
        super().__init__(*command.bits)
        self.command = command
        self.routed = [(unit, unit.route) for unit in units if unit.route]

    def execute(
        self, state: State, host: Host, connector_arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Keep requests away, run the command, and let them come again."""
        away = [(away_command(unit, route), route.host) for unit, route in self.routed]
        quiet = [
            (quiet_command(unit, route), route.asked_on or host.name) for unit, route in self.routed
        ]
        back = [
            (back_command(unit, route), route.host)
            for unit, route in self.routed
            if not route.stands_behind
        ]
        try:
            for command, name in [*away, *quiet]:
                run_on(name, command, state, host, connector_arguments)
            return self.command.execute(state, host, connector_arguments)
        finally:
            for command, name in back:
                run_on(name, command, state, host, connector_arguments)


def drained(command: ScriptCommand, units: Sequence[Unit]) -> StringCommand:
    """A command that replaces units, after their answers where requests can be kept away.

    Args:
        command: what replaces them.
        units: those that answer requests now.
    """
    routed = [unit for unit in units if unit.route and unit.drain_seconds]
    return DrainedCommand(command, routed) if routed else command


def away_command(unit: Unit, route: Route) -> ScriptCommand:
    """No new requests come to a unit."""
    lease = unit.drain_seconds + unit.start_timeout_seconds + SPARE_SECONDS
    return _script(
        f"waiting until {unit.name} has no requests",
        *("away", str(_file(unit, route)), str(lease), str(unit.drain_seconds)),
        *(route.entry or "-", *route.names),
    )


def back_command(unit: Unit, route: Route) -> ScriptCommand:
    """New requests come to it again."""
    return _script(
        f"waiting until {unit.name} is used again",
        *("back", str(_file(unit, route)), route.entry or "-"),
    )


def quiet_command(unit: Unit, route: Route) -> ScriptCommand:
    """The answers that it has begun have ended; an entry has waited for those already."""
    wait = 0 if route.entry else unit.drain_seconds
    container = unit.name if unit.image_name and not route.asked_on else "-"
    return _script(
        f"waiting until {unit.name} has answered", "quiet", container, str(route.port), str(wait)
    )


def _file(unit: Unit, route: Route) -> PurePosixPath:
    """Where it is written down that nothing is sent to a unit."""
    return route.directory / (route.stands_behind or unit.name)


def _script(progress: str, *arguments: str) -> ScriptCommand:
    return ScriptCommand(SCRIPT, *arguments, redact=str, progress=progress)
