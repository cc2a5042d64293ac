"""The lock of a deployment on a host: who has it or had it, as ``scripts/lock.sh`` tells it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from deploy.errors import HostError, Problem

ANSWER = '{"lock":'
"""How the line begins that the script prints."""
End = Literal["held", "done", "cut", "released"]
WAYS_OUT = {
    r"No locks available|Function not implemented|not supported": (
        "a directory on a file system that has locks (flock)",
        "declare another directory for the host, on a disk of its own; or start the lock service of"
        " NFS there (rpc.statd), or mount Lustre with the option flock",
    ),
    r"No space left on device|quota exceeded": (
        "room for a few more files",
        "see on the host what is full with df -h and df -i, and remove what is not needed",
    ),
}
"""What is allowed and what to do about what keeps a host from locking, by what it says; the first
pattern that is found counts."""


@dataclass(frozen=True)
class LockRecord:
    """A run that has the lock, or had it last."""

    state: End
    """``held``, ``done`` (it ended by itself), ``cut`` (it was killed, or lost its connection) or
    ``released`` (by hand)."""
    pid: int
    """The process on the host that holds the lock."""
    since: float
    """When it took the lock, in seconds since the epoch, by the host's clock."""
    until: float | None
    """When it gave it up; ``None`` while it has it, or if the host went down with it."""
    who: str
    """User and machine, e.g. ``alice@laptop``."""
    process: int
    """The run's own process, on that machine."""
    doing: str
    """Its command."""
    reason: str
    """What the operator said that it is for; may be empty."""


@dataclass(frozen=True)
class LockState:
    """The lock of one deployment on one host."""

    lock: Literal["taken", "held", "free"]
    """``taken`` is the answer to a run that takes it."""
    now: float
    """The host's clock."""
    record: LockRecord | None
    """Who has it or had it last; ``None`` if no one ever did."""

    @property
    def was_cut(self) -> bool:
        """Whether the last run ended without giving the lock back."""
        return self.lock != "held" and self.record is not None and self.record.state in _CUT

    def changed_within(self, seconds: float) -> bool:
        """Whether another run had the lock in the last seconds."""
        if self.record is None:
            return False
        last = self.record.until or self.record.since
        # clocks without fractions: only what is certain
        slack = 0 if self.now % 1 else 1
        return self.now - last + slack < seconds


_CUT = ("held", "cut")


def parse_lock(text: str) -> LockState:
    """What the script printed.

    Raises:
        HostError: if it did not.
    """
    lines = [line for line in text.splitlines() if line.startswith(ANSWER)]
    try:
        data = json.loads(lines[-1])
        return LockState(data["lock"], data["now"], _record(data["record"]))
    except (IndexError, KeyError, TypeError, ValueError):
        found = f"the host does not say who has it: {text.strip() or '(nothing)'}"
        raise HostError(Problem("lock", found)) from None


def _record(data: dict[str, Any] | None) -> LockRecord | None:
    if data is None:
        return None
    run = data["run"]
    return LockRecord(
        state=data["state"],
        pid=data["pid"],
        since=data["since"],
        until=data["until"],
        who=str(run.get("who", "somebody")),
        process=int(run.get("process", 0)),
        doing=str(run.get("doing", "")),
        reason=str(run.get("reason", "")),
    )


def held_problem(host: str, deployment: str, found: LockState) -> Problem:
    """Why a run does not go on where another one has the lock."""
    return Problem(
        f"host {host}",
        f"another run is changing deployment {deployment!r} there: {describe(found)}",
        "one run at a time for each deployment and host",
        "wait until it has ended, see: atelier lock status INVENTORY; if it hangs or its machine "
        f"is gone: atelier lock release INVENTORY --host {host}",
    )


def untaken_problem(host: str, directory: str, error: HostError) -> Problem:
    """Why a run does not go on where it cannot take the lock."""
    found = error.problems[0].found
    way_out = way_out_of(found) or (
        "a directory that this user may write to",
        "make it so, or declare sudo=True or another directory for the host",
    )
    return Problem(f"host {host}", f"the lock in {directory} cannot be taken; {found}", *way_out)


def way_out_of(said: str) -> tuple[str, str] | None:
    """What is allowed and what to do, by what a host says that cannot lock."""
    ways = (way for pattern, way in WAYS_OUT.items() if re.search(pattern, said, re.IGNORECASE))
    return next(ways, None)


def stale_problem(host: str, deployment: str, found: LockState) -> Problem:
    """Why a run does not go on with what it saw before another one changed it."""
    return Problem(
        f"host {host}",
        f"another run changed deployment {deployment!r} there while this one was looking: "
        f"{describe(found)}",
        fix="run it again: it then begins with what is there now",
    )


def lost_problem(host: str, deployment: str) -> Problem:
    """Why a run does not go on after its lock was taken from it."""
    return Problem(
        f"host {host}",
        f"this run lost its lock on deployment {deployment!r}: somebody released it, "
        "or the connection broke",
        fix="see who changes it now: atelier lock status INVENTORY; then run it again",
    )


def describe(found: LockState) -> str:
    """A line about the run that has the lock or had it last."""
    record = found.record
    if record is None:
        return "it is not known who"
    parts = [
        f"{record.who} (process {record.process})",
        f"since {moment(record.since, found.now)}",
    ]
    if record.until is not None:
        parts.append(f"until {moment(record.until, found.now)}")
    parts += [part for part in (record.doing, record.reason and f"reason: {record.reason}") if part]
    return ", ".join(parts)


def moment(seconds: float, now: float) -> str:
    """A time, and how long ago that is by the host's clock."""
    time = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{time} ({_duration(max(0, now - seconds))} ago)"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
