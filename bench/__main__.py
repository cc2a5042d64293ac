"""Measures, and writes docs/benchmarks.md.

Run: make bench
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from bench import fleet, machine, one_host, report, streams
from bench.measure import Row
from bench.stack import PROJECT

STREAMS = "streams"
ROUND_TRIP = 0.02
FLEETS = (1, 10, 50)
DOCUMENT = PROJECT / "docs" / "benchmarks.md"
Measurement = Callable[[Path], Iterator[Row]]


def main(only: str = "", output: Path = DOCUMENT, *, quick: bool = False) -> None:
    """Measure everything, or only what has a word in its name; quick measures once.

    The streams are a part of the document of their own: --only streams writes it again.
    """
    console = Console()
    if only != STREAMS:
        _deployments(console, only, output, quick=quick)
    if only in STREAMS:
        _streams(console, output)
    console.print(f"written to {output}")


def _deployments(console: Console, only: str, output: Path, *, quick: bool) -> None:
    before = machine.load()
    kept = report.section_of(output.read_text(), streams.HEADING) if output.exists() else ""
    rows: list[Row] = []
    for name, measurement in _measurements(quick=quick).items():
        if only in name:
            console.rule(name)
            rows += _measure(measurement, console)
    console.print(report.terminal_table(rows))
    load = f"{before:.1f} before, {machine.load():.1f} after"
    text = report.document(rows, machine.describe() | {"load": load})
    output.write_text(report.with_section(text, streams.HEADING, kept) if kept else text)


def _streams(console: Console, output: Path) -> None:
    console.rule(STREAMS)
    ways = []
    with tempfile.TemporaryDirectory() as directory:
        for way in streams.measure(Path(directory)):
            ways.append(way)
            console.print(f"{way.name}, {way.streams}: half of the tokens {way.delay(50):.1f} ms")
    table = report.table(streams.COLUMNS, streams.rows(ways))
    text = report.with_section(output.read_text(), streams.HEADING, f"{streams.TEXT}\n{table}")
    output.write_text(text)


def _measurements(*, quick: bool) -> dict[str, Measurement]:
    images = one_host.build()
    times = 1 if quick else one_host.TIMES
    fleets = FLEETS[:1] if quick else FLEETS
    return {
        "this machine": lambda place: one_host.on_this_machine(place, times),
        "one host over SSH": lambda place: one_host.over_ssh(place, images, ROUND_TRIP, times),
        **{f"fleet of {hosts}": partial(_fleet, hosts) for hosts in fleets},
    }


def _fleet(hosts: int, place: Path) -> Iterator[Row]:
    return fleet.over_ssh(place, hosts, ROUND_TRIP)


def _measure(measurement: Measurement, console: Console) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory, console.status("preparing") as status:
        for row in measurement(Path(directory)):
            console.print(f"{row.tool}, {row.what}: {row.median:.2f} s ({row.spread})")
            status.update(f"after: {row.tool}, {row.what}")
            yield row


try:
    typer.run(main)
except RuntimeError as error:
    sys.exit(str(error))
