"""The tables, on a terminal and in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from rich.table import Table

from bench.ansible_stack import ANSIBLES
from bench.measure import Row, speedup

COLUMNS = (
    *("where", "what", "tool", "median, s", "from, to"),
    *("processor, s", "connections", "commands"),
)
INTRODUCTION = """\
# Benchmarks

Written by `make bench`; do not edit it, run it again.

One engine (llama.cpp with a tiny model), LiteLLM and Open WebUI on one host, deployed by Atelier
and by Ansible from [a playbook](../bench/ansible/site.yml) with the same images, files, containers
and questions, with pipelining and a shared connection (ControlPersist); and by the same playbook
with Mitogen's strategy plugin, which runs all modules in one Python on the host.

The host is a Debian 12 container with systemd, reached through a TCP proxy that delays each
direction by half of the round trip. Docker and the images are on it before anything is measured. A
run starts and ends with its process: Python, planning, connecting, changing, and asking every
service a question are in it.

The many hosts are SSH servers on loopback addresses of this machine, where no Docker is found: a
look at the host, a model file of 0.8 MiB and a configuration file. They share the processors of the
machine that deploys, and with them what a tool runs on its hosts: Ansible's modules are Python
programs. With many hosts the times say more about this machine than about the network.

"processor" is what the tool's own processes use of this machine, without those of the host. Where
it is nearly the whole time, neither the network nor the host holds a run back, but Python here.

Commands and connections are counted in the log of the SSH servers, on this machine in what pyinfra
says that it runs; with many hosts they are those of all hosts together.
"""


STEPS = """\
Of one run with a clock around pyinfra's own functions (`bench/trace.py`), each step without those
inside of it. "look" is what a host is asked, "run" an operation; "Ask every service" is the proof.
"""


def terminal_table(rows: Iterable[Row]) -> Table:
    """The rows for a terminal."""
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def document(rows: list[Row], machine: dict[str, str]) -> str:
    """docs/benchmarks.md."""
    parts = [INTRODUCTION, table(COLUMNS, [_cells(row) for row in rows])]
    columns = ("where", "what", *(f"times faster than {tool}" for tool in ANSIBLES))
    parts += ["## Atelier compared with Ansible\n", table(columns, _speedups(rows))]
    parts += ["## Where the time of a redeployment without a change goes\n", STEPS, *_steps(rows)]
    parts += ["## The machine\n", table(("", ""), list(machine.items()))]
    parts.append("Repeat it with `make bench`; it takes about a quarter of an hour.\n")
    return "\n".join(parts)


def with_section(text: str, heading: str, body: str) -> str:
    """A document with a section of this heading: in the place of the one there is, or at its end.

    Args:
        text: the document.
        heading: of the section, a line.
        body: what stands under it.
    """
    before, found, rest = text.partition(f"\n{heading}\n")
    if not found:
        before, found, rest = text.partition("\n## The machine\n")
        after = found + rest
    else:
        _, found, rest = rest.partition("\n## ")
        after = found + rest
    return f"{before.rstrip()}\n\n{heading}\n\n{body.strip()}\n{after}"


def section_of(text: str, heading: str) -> str:
    """What stands under a heading; empty if there is no such section."""
    _, _, rest = text.partition(f"\n{heading}\n")
    return rest.partition("\n## ")[0].strip()


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    header = list(columns)
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _speedups(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        if row.tool == "Atelier":
            ratios = [speedup(rows, row.where, row.what, tool) for tool in ANSIBLES]
            if any(ratios):
                yield row.where, row.what, *(f"{ratio:.1f}" if ratio else "" for ratio in ratios)


def _steps(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row.steps]
    return [
        f"{row.where}:\n\n" + table(("step", "seconds"), _significant(row.steps)) for row in found
    ]


def _significant(steps: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{seconds:.2f}") for name, seconds in steps.items() if seconds >= 0.005]


def _cells(row: Row) -> tuple[str, ...]:
    counts = ("" if count is None else str(count) for count in (row.connections, row.commands))
    processor = f"{median(row.processor_seconds):.2f}" if row.processor_seconds else ""
    return (row.where, row.what, row.tool, f"{row.median:.2f}", row.spread, processor, *counts)
