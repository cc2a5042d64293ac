"""What the lock's record means, and how it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.errors import HostError, Problem
from deploy.lock import describe, held_problem, moment, parse_lock, untaken_problem

RUN = {"who": "alice@laptop", "process": 12, "doing": "pyinfra lab.py deploy.py", "reason": "why"}


def answer(lock: str = "free", now: float = 1000.5, **record: Any) -> str:
    default = {"state": "done", "pid": 7, "since": 900.5, "until": 990.5, "run": RUN}
    return json.dumps({"lock": lock, "now": now, "record": default | record}, separators=(",", ":"))


def test_who_has_it() -> None:
    found = parse_lock(f"Welcome to this host!\n{answer('held', state='held', until=None)}\n")
    assert str(held_problem("gpu1", "lab", found)) == (
        "host gpu1: another run is changing deployment 'lab' there: alice@laptop (process 12), "
        "since 1970-01-01 00:15:00 UTC (100 s ago), pyinfra lab.py deploy.py, reason: why\n"
        "    allowed: one run at a time for each deployment and host\n"
        "    fix: wait until it has ended, see: atelier lock status INVENTORY; if it hangs or its "
        "machine is gone: atelier lock release INVENTORY --host gpu1"
    )


def test_nobody_ever_had_it() -> None:
    found = parse_lock('{"lock":"free","now":1,"record":null}')
    assert (found.was_cut, found.changed_within(100)) == (False, False)
    assert describe(found) == "it is not known who"


@pytest.mark.parametrize(
    ("lock", "state", "was_cut"),
    [
        ("free", "done", False),
        ("free", "released", False),
        ("taken", "cut", True),
        # the host went down with it
        ("free", "held", True),
        ("held", "held", False),
    ],
)
def test_a_run_that_did_not_end_by_itself(lock: str, state: str, was_cut: bool) -> None:
    assert parse_lock(answer(lock, state=state)).was_cut is was_cut


@pytest.mark.parametrize(
    ("now", "until", "seconds", "changed"),
    [
        (1000.5, 990.5, 10.1, True),
        (1000.5, 990.5, 9.9, False),
        # clocks without fractions: only what is certain
        (1000.0, 990.0, 10.9, False),
        (1000.0, 990.0, 11.1, True),
        (1000.5, None, 100.1, True),
        (1000.5, None, 99.0, False),
    ],
)
def test_another_run_changed_it_meanwhile(
    now: float, until: float | None, seconds: float, changed: bool
) -> None:
    assert parse_lock(answer("taken", now, until=until)).changed_within(seconds) is changed


@pytest.mark.parametrize("text", ["", "sudo: no\n", '{"lock":"free"', '{"lock":"free","now":1}'])
def test_a_host_that_does_not_answer(text: str) -> None:
    with pytest.raises(HostError, match="does not say who has it"):
        parse_lock(text)


@pytest.mark.parametrize(
    ("ago", "text"), [(5, "5 s"), (119, "119 s"), (150, "2 min"), (3 * 3600, "3 h"), (1e6, "12 d")]
)
def test_moments(ago: float, text: str) -> None:
    assert moment(0, ago) == f"1970-01-01 00:00:00 UTC ({text} ago)"


@pytest.mark.parametrize(
    ("said", "allowed", "fix"),
    [
        ("flock: 9: No locks available", "has locks", "rpc.statd"),
        ("flock: 9: Function not implemented", "has locks", "mount Lustre with the option flock"),
        ("mkdir: cannot create directory: No space left on device", "room", "df -i"),
        ("mkdir: cannot create directory: Disk quota exceeded", "room", "df -h"),
        ("mkdir: cannot create directory: Permission denied", "may write to", "sudo=True"),
    ],
)
def test_why_it_cannot_be_taken(said: str, allowed: str, fix: str) -> None:
    problem = untaken_problem("gpu1", "/var/lib/atelier", HostError(Problem("lock", said)))
    assert said in problem.found
    assert allowed in problem.allowed
    assert fix in problem.fix
