"""The lock as operations take it, held by real processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.state import BaseStateCallback
from pyinfra.connectors.local import LocalConnector

from deploy import operations
from deploy.inventory import Declared
from deploy.operations import lock
from deploy.operations.commands import Commands, refuse
from deploy.operations.lock import TakeLock, changes_host
from tests.conftest import declare
from tests.operations.harness import FakeHost, run


class ThisMachine:
    """A host as one run sees it."""

    name = "@local"
    print_prefix = ""

    def __init__(self, directory: Path) -> None:
        spec = declare(hosts=[{"name": "@local", "directory": str(directory)}])
        self.said: list[str] = []
        self.handlers: list[BaseStateCallback] = []
        self.state = SimpleNamespace(
            config=SimpleNamespace(TEMP_DIR="/tmp"),
            callback_handlers=self.handlers,
            add_callback_handler=self.handlers.append,
        )
        self.data: dict[str, Any] = {"atelier": Declared(spec, directory)}
        self.connector_data: dict[str, Any] = {}
        self.connector = LocalConnector(self.state, self)  # type: ignore[arg-type]

    def log(self, message: str) -> None:
        """Remember it."""
        self.said.append(message)

    def take(self) -> bool:
        """What an operation does before its first change."""
        return TakeLock().execute(self.state, self, {})  # type: ignore[arg-type]

    def disconnect(self) -> None:
        """What pyinfra does in the end."""
        for handler in self.handlers:
            handler.host_disconnect(self.state, self)  # type: ignore[arg-type]

    def end_holder(self, how: signal.Signals) -> None:
        """End the process that holds the lock, and nothing around it."""
        directory = self.data["atelier"].directory
        os.kill(record(directory)["pid"], how)
        self.connector_data[lock.HELD]._process.wait(timeout=10)


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ThisMachine]]:
    """Makes runs; each began just now, or so many seconds ago."""
    runs: list[ThisMachine] = []

    def begin(seconds_ago: float = 0.0) -> ThisMachine:
        monkeypatch.setattr(lock, "BEGAN", time.monotonic() - seconds_ago)
        runs.append(ThisMachine(tmp_path))
        return runs[-1]

    monkeypatch.setattr("sys.argv", ["pyinfra", "--ssh-password", "hush", "lab.py", "deploy.py"])
    yield begin
    for each in runs:
        each.disconnect()


def record(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "deployments/demo/lock.json").read_text()))


def test_it_is_held_until_pyinfra_disconnects(
    machine: Callable[[], ThisMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_LOCK_REASON", "new\nmodel")
    first = machine()
    assert first.take()
    assert first.take()
    (tmp_path / "deployments/demo/config").mkdir()
    found = record(tmp_path)
    assert found["state"] == "held"
    assert found["run"]["process"] == os.getpid()
    # nothing of the command that may be a password
    assert found["run"]["doing"] == "pyinfra lab.py deploy.py"
    assert found["run"]["reason"] == "new model"
    first.disconnect()
    assert record(tmp_path)["state"] == "done"
    assert len(first.handlers) == 1
    assert first.said == []


def test_a_second_run_is_told_who_has_it(
    machine: Callable[[], ThisMachine], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = machine(), machine()
    assert first.take()
    assert not second.take()
    assert "another run is changing deployment 'demo' there" in caplog.text
    assert f"(process {os.getpid()})" in caplog.text
    # giving back what one does not have takes nothing from the other
    second.disconnect()
    assert first.take()


def test_a_run_that_began_before_another_one_ended_is_refused(
    machine: Callable[..., ThisMachine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = machine()
    first.take()
    (tmp_path / "deployments/demo/config").mkdir()
    second = machine(60)
    first.disconnect()
    assert not second.take()
    assert "changed deployment 'demo' there while this one was looking" in caplog.text
    second.disconnect()
    assert machine().take()


def test_after_a_run_that_was_killed_the_next_one_says_so_and_goes_on(
    machine: Callable[[], ThisMachine], tmp_path: Path
) -> None:
    first = machine()
    first.take()
    first.end_holder(signal.SIGKILL)
    second = machine()
    assert second.take()
    [said] = second.said
    assert said.startswith("the last run here was killed or lost its connection: ")
    assert said.endswith("; this run goes on from what it left")


def test_a_lock_that_was_released_ends_the_run_that_had_it(
    machine: Callable[[], ThisMachine], caplog: pytest.LogCaptureFixture
) -> None:
    first = machine()
    first.take()
    first.end_holder(signal.SIGTERM)
    assert not first.take()
    assert "this run lost its lock on deployment 'demo'" in caplog.text


def test_a_directory_that_cannot_be_made_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("")
    assert not ThisMachine(tmp_path / "taken").take()
    assert "taken/deployments/demo cannot be taken" in caplog.text
    assert "mkdir: " in caplog.text


def test_a_dying_run_lets_go_of_it(machine: Callable[[], ThisMachine], tmp_path: Path) -> None:
    """Its end of the pipe is the only one: nothing that it starts keeps the lock."""
    first = machine()
    first.take()
    with subprocess.Popen(["sleep", "60"]) as child:
        holder = first.connector_data.pop(lock.HELD)._process
        holder.communicate(timeout=10)
        child.kill()
    assert record(tmp_path)["state"] == "cut"


# operations


@changes_host
def greeted(*, changes: bool, refuses: bool = False) -> Commands:
    if refuses:
        yield from refuse("no")
    elif changes:
        yield StringCommand("echo hello")
        yield StringCommand("echo again")


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ({"changes": True}, [TakeLock, StringCommand, StringCommand]),
        ({"changes": False}, []),
        # a run that refuses to change anything needs no lock for that
        ({"changes": True, "refuses": True}, [PyinfraCommand]),
    ],
)
def test_the_lock_comes_before_the_first_change(
    arguments: dict[str, bool], kinds: list[type[PyinfraCommand]]
) -> None:
    outcome = run(greeted, FakeHost({}), executing=True, **arguments)
    assert len(outcome.all_commands) == len(kinds)
    for command, kind in zip(outcome.all_commands, kinds, strict=True):
        assert isinstance(command, kind)


LOOKING = {"barrier", "doctor", "precheck", "verified"}
"""Modules of operations that change no host."""


def test_every_operation_that_changes_a_host_takes_the_lock() -> None:
    """pyinfra's own decorator is used where nothing is changed, and nowhere else."""
    directory = Path(str(operations.__file__)).parent
    plain = {path.stem for path in directory.glob("*.py") if "\n@operation" in path.read_text()}
    assert plain == LOOKING
