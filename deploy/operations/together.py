"""Commands that run at the same time on one host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gevent
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

Lane = Sequence[StringCommand]
"""Commands that follow each other; the first one that fails is the last."""


class TogetherCommand(PyinfraCommand):
    """Runs lanes of commands at the same time.

    Args:
        lanes: the lanes; each ends by itself, whatever happens in another.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        super().__init__()
        self.lanes = lanes

    def __repr__(self) -> str:
        return f"TogetherCommand({len(self.lanes)} lanes)"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Run them all; whether every one of them succeeded."""
        running = [
            gevent.spawn(_run, lane, state, host, dict(connector_arguments)) for lane in self.lanes
        ]
        gevent.joinall(running, raise_error=True)
        return all(lane.value for lane in running)


def _run(lane: Lane, state: State, host: Host, arguments: Any) -> bool:
    # greenlets begin without pyinfra's current host
    with ctx_state.use(state), ctx_host.use(host):
        for command in lane:
            succeeded, output = command.execute(state, host, arguments.copy())
            if not succeeded:
                for line in output:
                    host.log(line.line)
                return False
    return True
