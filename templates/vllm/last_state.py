"""What the processes of an engine are doing, written down before they are ended."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

PROC = Path("/proc")
DUMP_SECONDS = 4
"""For all processes to write what they are doing."""
ENDED = frozenset({"Z", "X"})


@dataclass(frozen=True)
class Process:
    """A process of the engine."""

    number: int
    name: str
    state: str
    parent: int
    cpu_seconds: float
    waits_in: str
    """Function of the kernel that its first thread waits in."""


def processes(proc: Path, root: int) -> list[Process]:
    """A process and all that come from it, as /proc shows them."""
    found = {each.number: each for each in _all(proc)}
    family = {root}
    for number in sorted(found):
        line = [number]
        while line[-1] in found and line[-1] not in family:
            line.append(found[line[-1]].parent)
        if line[-1] in family:
            family.update(line)
    return [found[number] for number in sorted(family & set(found))]


def _all(proc: Path) -> Iterator[Process]:
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            before, _, after = (directory / "stat").read_text().rpartition(")")
            fields = after.split()
            ticks = int(fields[11]) + int(fields[12])
            yield Process(
                number=int(directory.name),
                name=before.partition("(")[2],
                state=fields[0],
                parent=int(fields[1]),
                cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
                waits_in=_read(directory / "wchan"),
            )


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""


def report(why: str, figures: dict[str, float], family: list[Process], path: Path) -> None:
    """Write down what was seen last: in the log, and where ``atelier status`` reads it.

    Args:
        why: what was seen, in a sentence.
        figures: the last figures of the engine.
        family: its processes.
        path: lasts as long as the container.
    """
    say(f"this engine hangs and is started again: {why}")
    say("its last figures: " + ", ".join(f"{name} {value:g}" for name, value in figures.items()))
    for each in family:
        say(
            f"process {each.number} {each.name}: state {each.state}, {each.cpu_seconds:.0f} s of"
            f" a processor, waits in {each.waits_in or '?'}"
        )
    with suppress(OSError, ValueError):
        before = json.loads(path.read_text())["times"] if path.exists() else 0
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - Python 3.10
        path.write_text(json.dumps({"times": before + 1, "at": now, "why": why}))


def say(line: str) -> None:
    """A line for the log of the container."""
    sys.stderr.write(f"atelier: {line}\n")
    sys.stderr.flush()


def end(running: subprocess.Popen[bytes], family: list[Process], proc: Path = PROC) -> None:
    """Let every process of the engine say what it is doing, one after the other, and end all."""
    deadline = time.monotonic() + DUMP_SECONDS
    # those that others wait for come first, the server last
    for each in reversed(family):
        # a process that is stopped takes the first signal when it goes on
        for number in (signal.SIGABRT, signal.SIGCONT):
            _send(each.number, number)
        while _runs(each.number, proc) and time.monotonic() < deadline:
            time.sleep(0.05)
    for each in family:
        _send(each.number, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        running.wait(1)


def _runs(number: int, proc: Path) -> bool:
    return any(each.number == number and each.state not in ENDED for each in _all(proc))


def _send(process: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.kill(process, number)


def without_core_dumps() -> None:
    """SIGABRT must not write the memory of the engine to a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/coredump_filter").write_text("0")
