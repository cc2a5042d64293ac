"""``atelier lock``: what it prints, asks and does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import main as command
from deploy.cli import output
from deploy.errors import ConnectionFailedError, Problem
from deploy.lock import LockState, parse_lock
from deploy.spec import HostSpec

INVENTORY = """
from deploy import Deployment, Host, Model, pyinfra_hosts
hosts = [Host(name="a", address="10.0.0.1"), Host(name="b", address="10.0.0.2")]
deployment = Deployment(name="lab", hosts=hosts, models=[Model(name="tiny-coder")])
hosts = pyinfra_hosts(deployment, __file__)
"""
RUN = {"who": "alice@laptop", "process": 12, "doing": "pyinfra lab.py deploy.py", "reason": ""}
Atelier = Callable[..., tuple[int, str, str]]


def state(lock: str, end: str = "done") -> LockState:
    until = None if lock == "held" else 990.5
    record = {"state": end, "pid": 7, "since": 900.5, "until": until, "run": RUN}
    text = json.dumps({"lock": lock, "now": 1000.5, "record": record}, separators=(",", ":"))
    return parse_lock(text)


FREE, HELD, CUT = state("free"), state("held", "held"), state("free", "cut")
NEVER = LockState("free", 1000.5, None)
DOWN = ConnectionFailedError(Problem("host b", "is down"))


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The lock of each host; those that are released are kept under ``released``."""
    found: dict[str, Any] = {"a": FREE, "b": FREE, "released": []}

    def read(host: HostSpec, deployment: str) -> LockState:
        assert deployment == "lab"
        if isinstance(found[host.name], Exception):
            raise found[host.name]
        return found[host.name]  # type: ignore[no-any-return]

    def release(host: HostSpec, deployment: str, pid: int) -> None:
        found["released"].append((host.name, deployment, pid))

    monkeypatch.setattr("deploy.live.lock.read_lock", read)
    monkeypatch.setattr("deploy.live.lock.release_lock", release)
    return found


@pytest.fixture
def atelier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Atelier:
    (tmp_path / "lab.py").write_text(INVENTORY)
    monkeypatch.setattr(output.console, "width", 200)

    def run(verb: str, *arguments: str) -> tuple[int, str, str]:
        argv = ["atelier", "lock", verb, str(tmp_path / "lab.py"), *arguments]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as ended:
            command.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("a", "b", "status", "kinds", "said"),
    [
        (FREE, NEVER, 0, ["free", "free"], ["a: free; the last run: alice@laptop", "b: free\n"]),
        (HELD, FREE, 1, ["held", "free"], ["a: held by alice@laptop (process 12), since 1970"]),
        (CUT, FREE, 0, ["cut", "free"], ["a: free; the last run was killed or lost its"]),
        (FREE, DOWN, 1, ["free", "unreachable"], ["b: host b: is down"]),
    ],
)
def test_status(
    locks: dict[str, Any],
    atelier: Atelier,
    a: Any,
    b: Any,
    status: int,
    kinds: list[str],
    said: list[str],
) -> None:
    locks |= {"a": a, "b": b}
    code, out, _ = atelier("status")
    assert code == status
    for part in said:
        assert part in out
    code, out, _ = atelier("status", "--json")
    rows = json.loads(out)["locks"]
    assert (code, [row["lock"] for row in rows]) == (status, kinds)
    assert {"who", "since", "doing", "reason", "process"} <= set(rows[0]["run"])
    assert rows[0].keys() == {"host", "lock", "run", "error"}


def test_release_takes_it_from_the_run_that_was_shown(
    locks: dict[str, Any], atelier: Atelier
) -> None:
    locks["b"] = HELD
    code, out, _ = atelier("release", "--yes")
    assert (code, locks["released"]) == (0, [("b", "lab", 7)])
    assert "b: held by alice@laptop" in out
    assert out.endswith("b: released\n")


def test_release_asks_first(
    locks: dict[str, Any], atelier: Atelier, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks["b"] = HELD
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
    code, out, _ = atelier("release")
    assert (code, locks["released"]) == (130, [])
    assert "Release it?" in out


@pytest.mark.parametrize("found", [FREE, CUT, NEVER])
def test_nothing_to_release(locks: dict[str, Any], atelier: Atelier, found: LockState) -> None:
    locks["a"] = found
    assert atelier("release", "--yes")[:2] == (0, "Nothing to release: no run has the lock.\n")


def test_release_on_one_host_alone(locks: dict[str, Any], atelier: Atelier) -> None:
    locks |= {"a": HELD, "b": DOWN}
    assert atelier("release", "--yes", "--host", "a")[0] == 0
    assert locks["released"] == [("a", "lab", 7)]
    code, _, error = atelier("release", "--yes", "--host", "c")
    assert (code, "'c' is not in the inventory" in error) == (1, True)


def test_a_host_that_is_down_keeps_no_other_from_its_release(
    locks: dict[str, Any], atelier: Atelier
) -> None:
    locks |= {"a": DOWN, "b": HELD}
    code, out, error = atelier("release", "--yes")
    assert locks["released"] == [("b", "lab", 7)]
    assert out.endswith("b: released\n")
    # whether it is held there nobody knows
    assert (code, "host b: is down" in error) == (1, True)
    locks["b"] = FREE
    code, out, error = atelier("release", "--yes")
    assert (code, out, "host b: is down" in error) == (1, "", True)
