"""Runs pyinfra and writes down where the time went: ``python -m bench.trace FILE ARGUMENT...``.

What Atelier does is not changed: pyinfra's own functions are wrapped with a clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

STARTED = "BENCH_STARTED"
"""When the process was started, on the clock that all processes share."""
START = "start Python and pyinfra"


@dataclass(frozen=True)
class Span:
    """Something that was done, and for how long, on the clock of time.monotonic."""

    name: str
    begin: float
    end: float


def own_seconds(spans: Iterable[Span]) -> dict[str, float]:
    """Seconds by name, each without those of what was done inside of it."""
    totals: dict[str, float] = {}
    outer: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.begin, -span.end)):
        while outer and outer[-1].end <= span.begin:
            outer.pop()
        if outer:
            totals[outer[-1].name] -= span.end - span.begin
        totals[span.name] = totals.get(span.name, 0.0) + span.end - span.begin
        outer.append(span)
    return totals


class Clock:
    """Wraps functions."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def wrap(self, place: Any, function: str, name: Callable[..., str]) -> None:
        """Time a function of a module or class; its arguments say what it is called."""
        original = getattr(place, function)

        def timed(*arguments: Any, **more: Any) -> Any:
            begin = time.monotonic()
            try:
                return original(*arguments, **more)
            finally:
                self.spans.append(Span(name(*arguments), begin, time.monotonic()))

        setattr(place, function, timed)


def _wrap_pyinfra(clock: Clock) -> None:
    from pyinfra.api import host, operations

    cli = import_module("pyinfra_cli.cli")
    phases = {
        "make_inventory": "read the inventory",
        "connect_all": "connect",
        "load_deploy_file": "prepare: import, plan, compare",
        "run_ops": "begin operations",
        "disconnect_all": "disconnect",
    }
    for function, phase in phases.items():
        clock.wrap(cli, function, lambda *_, phase=phase: phase)
    clock.wrap(host, "get_fact", lambda _state, _host, fact, *_: f"look: {fact.__name__}")
    clock.wrap(
        operations,
        "run_host_op",
        lambda state, _host, key: f"run: {', '.join(sorted(state.get_op_meta(key).names))}",
    )


def main() -> None:
    """Run pyinfra with the arguments after the file's name."""
    clock = Clock()
    run_pyinfra = import_module("pyinfra_cli.main").main
    _wrap_pyinfra(clock)
    output = Path(sys.argv.pop(1))
    running = time.monotonic()
    clock.spans.append(Span(START, float(os.environ[STARTED]), running))
    try:
        run_pyinfra()
    finally:
        clock.spans.append(Span("everything else", running, time.monotonic()))
        output.write_text(json.dumps(own_seconds(clock.spans)))


if __name__ == "__main__":
    main()
