"""The driver's operations: what they announce, run, and how they end a run before a restart."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from deploy.artefacts import Artefacts
from deploy.facts.drivers import Drivers
from deploy.facts.units import Units, UnitsState
from deploy.hosts.drivers.state import DriverState
from deploy.operations import driver
from deploy.operations.driver import FIXES, DriverCommand
from deploy.operations.rested import RestedCommand
from deploy.services import Holds
from deploy.spec import DriverSpec, HostSpec
from tests.conftest import MakeArtefacts
from tests.hosts.drivers import test_gpu_settings as gpus
from tests.hosts.drivers.host import after, make_host, plan, restarted
from tests.operations.found import found, live, stranger
from tests.operations.harness import Facts, FakeHost, Outcome, run
from tests.operations.harness import words as words_of

BARE = make_host("debian-12")
NOUVEAU = make_host("debian-12", loaded=frozenset({"nouveau"}))


def spec(name: str = "h1", **declared: Any) -> HostSpec:
    return HostSpec(name=name, gpus="1x h100", driver=DriverSpec(**declared))


def install(state: DriverState, **declared: Any) -> Outcome:
    return run(driver.installed, {Drivers: state}, spec=spec(**declared), cuda={"vllm": "13.0"})


def restart(
    state: DriverState, name: str = "h1", *, artefacts: Any = None, first: str = "", **declared: Any
) -> Outcome:
    return run(
        driver.restarted,
        FakeHost({Drivers: state, Units: UnitsState()}, name="@local" if artefacts else "h1"),
        spec=spec(name, **declared),
        artefacts=artefacts,
        cuda={},
        first=first,
        executing=True,
    )


def steps(outcome: Outcome) -> list[str]:
    """What stands behind the script itself."""
    return [command.rpartition(" atelier ")[2] for command in outcome.shell]


def installed(state: DriverState) -> DriverState:
    """The host when everything but the restart was done."""
    return after(state, plan(spec(), state))


def message(outcome: Outcome) -> str:
    """What ends the run."""
    (command,) = outcome.commands
    assert isinstance(command, FunctionCommand)
    return str(command.args[0])


def test_a_bare_host(announced: Callable[[], list[Any]]) -> None:
    outcome = install(BARE)
    assert [step.split()[0] for step in steps(outcome)] == [
        *("key", "files", "install", "hold", "load", "units"),
        *("key", "files", "install", "hold", "files", "cdi"),
    ]
    assert steps(outcome)[2].endswith("nvidia-kernel-open-dkms nvidia-driver-cuda "
                                      "nvidia-persistenced")  # fmt: skip
    assert "Will install NVIDIA driver" in outcome.shown
    assert {row["action"] for row in announced()} >= {"install", "hold", "load"}


def test_a_host_that_is_as_it_should_be(announced: Callable[[], list[Any]]) -> None:
    outcome = install(restarted(installed(BARE)))
    assert (outcome.commands, announced()) == ([], [])
    assert len(outcome.host.noops) == 1
    assert restart(restarted(installed(BARE))).commands == []


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(OperationError) as refused:
        install(make_host("debian-12", secure_boot=True))
    assert "h1 cannot be deployed to\ndriver: Secure Boot is on" in str(refused.value)


def test_the_run_ends_before_a_restart_that_was_not_allowed() -> None:
    said = message(restart(installed(NOUVEAU)))
    assert said.startswith("h1 must be restarted before its GPUs can be used: the module nouveau")
    assert "sudo systemctl reboot" in said
    assert "Driver(reboot='allowed')" in said


def test_a_restart_that_is_allowed(demo: Artefacts, announced: Callable[[], list[Any]]) -> None:
    outcome = restart(installed(NOUVEAU), reboot="allowed", artefacts=demo)
    (command,) = outcome.commands
    assert isinstance(command, RestedCommand)
    stop, *functions = command.work
    assert isinstance(stop, StringCommand)
    assert "docker stop --time 60" in stop.get_raw_value()
    assert "label=io.atelier.deployment=demo" in stop.get_raw_value()
    for each in functions:
        assert isinstance(each, FunctionCommand)
        # pyinfra gives both where they have these names, and else neither
        assert list(inspect.signature(each.function).parameters)[:2] == ["state", "host"]
    assert [row["action"] for row in announced()] == ["restart"]


@pytest.mark.parametrize(("time", "waits"), [("03:00", False), ("12:00", True)])
def test_a_window(demo: Artefacts, time: str, waits: bool) -> None:
    window: dict[str, Any] = {"reboot": "allowed", "reboot_window": "02:00-05:00"}
    state = installed(make_host("debian-12", loaded=frozenset({"nouveau"}), time=time))
    outcome = restart(state, artefacts=demo, **window)
    assert isinstance(outcome.commands[0], RestedCommand) is not waits
    if waits:
        assert "it is 12:00 there, and it may be restarted 02:00-05:00" in message(outcome)


def test_never_goes_on_while_the_driver_works() -> None:
    """A newer module on disk: the old one serves until somebody restarts the host."""
    serving = restarted(installed(BARE))
    nvidia = replace(serving.nvidia, disk_version="580.199.01")
    outcome = restart(replace(serving, nvidia=nvidia), reboot="never")
    assert outcome.commands == []
    assert "not restarted, as declared" in outcome.host.noops[0]
    assert "must be restarted" in message(restart(installed(NOUVEAU), reboot="never"))


def test_this_machine_is_not_restarted() -> None:
    said = message(restart(installed(NOUVEAU), name="@local", reboot="allowed"))
    assert "this machine is where Atelier runs" in said


UPGRADE = {"version": "580.199.01"}


def test_a_driver_that_serves_waits_for_the_first_host(
    announced: Callable[[], list[Any]],
) -> None:
    serving = restarted(installed(BARE))
    facts: Facts = {Drivers: serving}
    arguments: dict[str, Any] = {"spec": spec(**UPGRADE), "cuda": {}, "first": "h0"}
    waiting = run(driver.installed, facts, **arguments)
    assert (waiting.commands, announced()) == ([], [])
    assert waiting.host.noops == ["its driver is replaced when that of h0 works"]
    then = run(driver.installed, facts, turn="then", **arguments)
    assert "install" in [step.split()[0] for step in steps(then)]
    assert "after h0, where it is tried" in then.shown
    # the host where it is tried, and one without a driver that serves, have it at once
    for state, first in ((serving, "h1"), (BARE, "h0")):
        now = run(driver.installed, {Drivers: state}, **arguments | {"first": first})
        assert "install" in [step.split()[0] for step in steps(now)]
        later = run(driver.installed, {Drivers: state}, turn="then", **arguments | {"first": first})
        assert later.commands == []


def test_a_restart_waits_for_the_first_host_too(demo: Artefacts) -> None:
    """Only what is to be installed makes it wait: what was installed in its turn is restarted."""
    serving = restarted(installed(BARE))
    waiting = restart(serving, artefacts=demo, first="h0", reboot="allowed", **UPGRADE)
    assert waiting.commands == []
    upgraded = after(serving, plan(spec(**UPGRADE), serving))
    done = restart(upgraded, artefacts=demo, first="h0", reboot="allowed", **UPGRADE)
    assert isinstance(done.commands[0], RestedCommand)


@pytest.fixture
def on_gpu(make: MakeArtefacts) -> Artefacts:
    """vLLM on a GPU that is to be divided, and on one that stays whole."""
    host = {"name": "@local", "gpus": "2x h100", "mig": {0: ["3g.40gb"]}}
    return make(hosts=[host], models=[{"name": "qwen2.5-coder-7b"}], engine={"kind": "vllm"})


def divide(artefacts: Artefacts, units: UnitsState, **declared: Any) -> Outcome:
    host = HostSpec(name="@local", gpus="2x h100", **declared)
    facts: Facts = {Drivers: gpus.host(), Units: units}
    return run(driver.gpus_set_up, FakeHost(facts, "@local"), spec=host, artefacts=artefacts)


def test_units_rest_while_a_gpu_is_divided(
    on_gpu: Artefacts, announced: Callable[[], list[Any]]
) -> None:
    first, second = (unit.name for unit in on_gpu.stack.units if unit.gpu_shares)
    whole = live(on_gpu, first, spec={"gpus": [0]}, holds=Holds(gpus={0: 1.0}))
    gone = stranger(on_gpu, "demo-old", holds=Holds(gpus={0: 0.5}))
    idle = stranger(on_gpu, "demo-other")
    running = found(on_gpu, [whole, live(on_gpu, second), gone, idle])
    outcome = divide(on_gpu, running, mig={0: ["3g.40gb"]})
    (command,) = outcome.commands
    assert isinstance(command, RestedCommand)
    assert [unit.name for unit in command.units] == [first, second]
    # what is to be replaced or removed does not start on a card that is no longer whole
    assert set(command.leaving) == {first, "demo-old"}
    # what fails leaves the host there, so all of them start again
    assert command.starts_anyway
    assert [words_of(each)[0] for each in command.work] == ["files", "gpus"]
    assert f"{second} rests meanwhile; nothing else serves it" in outcome.shown
    assert ("divide", "GPU 0") in [(row["action"], row["resource"]) for row in announced()]
    # no unit rests for a limit, nor where nothing runs
    for outcome in (
        divide(on_gpu, running, power_limit_watts=300),
        divide(on_gpu, UnitsState(), mig={0: ["3g.40gb"]}),
    ):
        assert [step.split()[0] for step in steps(outcome)] == ["files", "gpus"]
    assert divide(on_gpu, running).host.noops


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (f"http://x has the key {'B' * 40}, not {'A' * 40}", "key_fingerprint"),
        ("W: GPG error: http://x InRelease: NO_PUBKEY 12", "signed with another key"),
        ("E: Unable to locate package linux-headers-6.1.0-1-amd64", "no longer has headers"),
        ("E: Version '580.1*' for 'nvidia-driver-cuda' was not found", "does not have this"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "another program installs"),
        ("modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", "mokutil"),
        ("dpkg: error: No space left on device", "free space"),
        ("something else", ""),
    ],
)
def test_fixes(said: str, fix: str) -> None:
    explained = DriverCommand("driver.sh", redact=str).explain(said)
    assert fix in explained
    assert bool(fix) is bool(explained)
    assert all(FIXES.values())
