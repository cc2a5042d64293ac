"""A replica on two hosts changes as one: the real script, on two hosts with an engine of tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import Config
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploy.artefacts import Artefacts
from deploy.operations import whole_replica
from deploy.operations.replica_changes import Part
from deploy.operations.whole_replica import WholeCommand
from deploy.services import Unit
from tests.conftest import MakeArtefacts
from tests.operations.found import unit_named
from tests.scripts.test_container_script import HERE, Engine

FIRST, SECOND = "10.0.0.1", "10.0.0.2"
ASKED = "demo-vllm-qwen2.5-coder-0.5b-0"
NODE = f"{ASKED}-node-1"
OLD, NEW = ("published-old", "running"), ("good", "running")
"""Image and status: both become healthy."""


class CutError(Exception):
    """The run is killed here."""


class Machine:
    """A host on which scripts run, against an engine of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        (directory / "containers").mkdir(parents=True)
        self.name, self.print_prefix = name, f"[{name}] "
        self.engine = Engine(directory)
        self.data = SimpleNamespace()
        self.current_deploy_kwargs = None
        self.is_gone = False
        self.before: Callable[[str], None] = lambda _action: None
        """Called with the action before each script."""

    def run_shell_command(self, command: Any, **_: Any) -> tuple[bool, CommandOutput]:
        if self.is_gone:
            raise OSError("no route to host")
        words = [str(getattr(bit, "obj", bit)) for bit in command.bits]
        if words[3:4] == ["atelier"]:
            self.before(words[4])
        ran = subprocess.run(
            ["sh", "-c", command.get_raw_value()],
            env={
                "PATH": f"{HERE}:{os.environ['PATH']}",
                "TMPDIR": str(self.engine.directory),
                "FAKE_DOCKER": str(self.engine.directory),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = [OutputLine("stdout", line) for line in (ran.stdout + ran.stderr).splitlines()]
        return ran.returncode == 0, CommandOutput(lines)

    def log(self, message: str) -> None:
        """Progress is not looked at."""

    @property
    def containers(self) -> dict[str, tuple[str, str]]:
        return self.engine.containers


class Site:
    """Both hosts, as pyinfra knows them."""

    def __init__(self, artefacts: Artefacts, directory: Path) -> None:
        self.artefacts = artefacts
        self.config, self.print_input, self.print_output = Config(), False, False
        self.machines = {name: Machine(name, directory / name) for name in (FIRST, SECOND)}
        self.inventory, self.active_hosts = self, list(self.machines.values())

    def get_host(self, name: str) -> Any:
        return self.machines[name]

    def unit(self, name: str) -> Unit:
        found = unit_named(self.artefacts, name)
        return found.model_copy(update={"start_timeout_seconds": 1})

    def run(self, name: str, image: str, status: str = "running") -> None:
        """What is there before."""
        self.machines[self.unit(name).host].engine.add(name, image, status)

    def prepare(self, name: str, image: str) -> None:
        done = self.machines[self.unit(name).host].engine.call(
            *("prepare", name, "20", "30", "2", image), stdin=""
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def part(self, name: str, *gone: str, new: bool = False, kept: bool = False) -> Part:
        created = frozenset([name] if new else [])
        has_former = not (new or kept)
        return Part(self.unit(name), (name, *gone), frozenset(gone), created, has_former)

    def change(self, *parts: Part) -> bool:
        state: Any = self
        command = WholeCommand(parts, self.artefacts)
        succeeded, _ = command.execute(state, state.machines[FIRST], {})
        return succeeded

    def replace(self, asked: str, node: str) -> bool:
        """Replace both by containers of these images."""
        self.prepare(ASKED, asked)
        self.prepare(NODE, node)
        return self.change(self.part(ASKED), self.part(NODE))

    @property
    def containers(self) -> dict[str, tuple[str, str]]:
        """Image and status of all, on both hosts."""
        return self.machines[FIRST].containers | self.machines[SECOND].containers


@pytest.fixture
def site(make: MakeArtefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(whole_replica, "POLL_SECONDS", 0.05)
    artefacts = make(
        hosts=[{"name": name} for name in (FIRST, SECOND, "10.0.0.3")],
        models=[{"name": "qwen2.5-coder-0.5b"}],
        engine={"kind": "vllm", "nnodes": 2, "trusted_network": True, "cpu_kvcache_space": 1},
        router={"host": "10.0.0.3"},
        web_ui=None,
    )
    return Site(artefacts, tmp_path)


@pytest.fixture
def running(site: Site) -> Site:
    """Both are there, and have proven to work."""
    site.run(ASKED, OLD[0])
    site.run(NODE, OLD[0])
    return site


def test_both_are_replaced(running: Site) -> None:
    assert running.replace("good", "good")
    assert running.containers == {ASKED: NEW, NODE: NEW}


def test_all_have_stopped_before_one_starts(running: Site) -> None:
    actions: list[tuple[str, str]] = []
    for name, machine in running.machines.items():
        machine.before = lambda action, name=name: actions.append((action, name))  # type: ignore[misc]
    assert running.replace("good", "good")
    order = [action for action, _ in actions if action != "glance"]
    assert order == ["halt", "halt", "launch", "launch", "clean", "clean"]


@pytest.mark.parametrize(
    ("asked", "node", "said"),
    [
        ("never", "good", "it had 1 s to become healthy"),
        ("good", "crash", f"{NODE} on {SECOND} is restarting"),
        ("sick", "good", f"{ASKED} on {FIRST} is running and unhealthy"),
        ("good", "nostart", f"container {NODE} does not start: Error: driver failed"),
        ("nostart", "good", f"container {ASKED} does not start: Error: driver failed"),
    ],
)
def test_one_that_fails_brings_both_back(
    running: Site, asked: str, node: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not running.replace(asked, node)
    assert running.containers == {ASKED: OLD, NODE: OLD}
    assert said in caplog.text
    assert f"{ASKED}: the containers before it serve again on all hosts" in caplog.text


def test_the_last_lines_of_all_of_them_are_shown(
    running: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one may only say that it waits for the others."""
    assert not running.replace("never", "crash")
    assert "last line of never" in caplog.text
    assert "last line of crash" in caplog.text


def test_what_comes_back_and_does_not_work_either_is_said(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.run(ASKED, "sick")
    site.run(NODE, "published-old")
    assert not site.replace("never", "good")
    assert site.containers == {ASKED: ("sick", "running"), NODE: OLD}
    assert "the containers before it were started again on all hosts, but" in caplog.text


def test_a_first_one_that_fails_leaves_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.prepare(ASKED, "good")
    site.prepare(NODE, "crash")
    assert not site.change(site.part(ASKED, new=True), site.part(NODE, new=True))
    assert site.containers == {}
    assert f"{NODE} was removed; there was nothing before it" in caplog.text


def test_one_that_does_not_change_starts_again_with_the_others(site: Site) -> None:
    site.run(ASKED, OLD[0])
    site.prepare(NODE, "good")
    assert site.change(site.part(ASKED, kept=True), site.part(NODE, new=True))
    assert site.containers == {ASKED: OLD, NODE: NEW}
    verbs = site.machines[FIRST].engine.verbs
    assert [verb for verb in verbs if verb != "rm"] == ["stop", "start"]


def test_an_orphan_makes_room_and_goes(running: Site) -> None:
    running.machines[SECOND].engine.add("orphan", OLD[0])
    running.prepare(ASKED, "good")
    running.prepare(NODE, "good")
    assert running.change(running.part(ASKED), running.part(NODE, "orphan"))
    assert running.containers == {ASKED: NEW, NODE: NEW}


def test_an_orphan_that_made_room_comes_back(running: Site) -> None:
    running.machines[SECOND].engine.add("orphan", OLD[0])
    running.prepare(ASKED, "never")
    running.prepare(NODE, "good")
    assert not running.change(running.part(ASKED), running.part(NODE, "orphan"))
    assert running.containers == {ASKED: OLD, NODE: OLD, "orphan": OLD}


def test_an_orphan_stays_set_aside_until_its_models_are_removed(
    running: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = running.machines[SECOND]
    machine.engine.add("orphan", OLD[0])
    others, there = machine.run_shell_command, []

    def run(command: Any, **options: Any) -> tuple[bool, CommandOutput]:
        if "first:latest" not in command.get_raw_value():
            return others(command, **options)
        there.append(machine.containers.keys())
        return True, CommandOutput([])

    monkeypatch.setattr(machine, "run_shell_command", run)
    for name in (ASKED, NODE):
        running.prepare(name, "good")
    emptied = replace(running.part(NODE, "orphan"), models={"orphan": ("first:latest",)})
    assert running.change(running.part(ASKED), emptied)
    assert there == [{NODE, "orphan.previous"}]
    assert running.containers == {ASKED: NEW, NODE: NEW}


def test_a_host_that_is_lost_brings_the_others_back(
    running: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(action: str) -> None:
        running.machines[SECOND].is_gone = action == "glance"

    running.machines[SECOND].before = lose
    running.machines[FIRST].before = lambda _: None
    assert not running.replace("never", "good")
    assert running.machines[FIRST].containers == {ASKED: OLD}
    assert f"{NODE} on {SECOND} cannot be reached: no route to host" in caplog.text
    running.machines[SECOND].is_gone, running.machines[SECOND].before = False, lambda _: None
    assert running.replace("good", "good")
    assert running.containers == {ASKED: NEW, NODE: NEW}


def cut(site: Site, after: int) -> None:
    """The run is killed after so many scripts; what runs on a host ends by itself."""
    left = [after]

    def count(action: str) -> None:
        if action == "glance":
            return
        if left[0] == 0:
            raise CutError
        left[0] -= 1

    for machine in site.machines.values():
        machine.before = count


def again(site: Site) -> None:
    for machine in site.machines.values():
        machine.before = lambda _: None


@pytest.mark.parametrize("after", range(6))
def test_killed_at_any_moment_the_next_run_mends_it(running: Site, after: int) -> None:
    cut(running, after)
    with pytest.raises(CutError):
        running.replace("good", "good")
    again(running)
    assert running.replace("good", "good")
    assert running.containers == {ASKED: NEW, NODE: NEW}


@pytest.mark.parametrize("after", range(10))
def test_killed_at_any_moment_what_worked_last_can_come_back(running: Site, after: int) -> None:
    """Both runs want what never becomes healthy."""
    cut(running, after)
    with pytest.raises(CutError):
        running.replace("never", "good")
    again(running)
    assert not running.replace("never", "good")
    assert running.containers == {ASKED: OLD, NODE: OLD}
