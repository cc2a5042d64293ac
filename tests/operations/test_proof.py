"""The proof's operation: when it is due, what it runs, and what it says when it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pyinfra.api import FunctionCommand
from pyinfra.connectors.util import OutputLine

from deploy.facts.docker import Docker
from deploy.facts.drivers import Drivers
from deploy.facts.gpus import Gpus
from deploy.facts.proofs import Proofs
from deploy.hosts.drivers.host_setup import HostSetup, Step
from deploy.hosts.drivers.proof import proofs
from deploy.hosts.state import DockerState
from deploy.operations import proof
from deploy.operations.proof import DUE, ProofCommand
from deploy.services import Unit
from tests.hosts.drivers.test_proof import FOUND, STATE, host
from tests.operations.harness import FakeHost, Outcome, run, words
from tests.services.test_gpu_engines import made

DIRECTORY = PurePosixPath("/var/lib/atelier/deployments/lab")
DOCKER = DockerState(answers=True, version="28.5.2")


@pytest.fixture
def units(tmp_path: Path) -> tuple[Unit, ...]:
    return made(tmp_path, hosts=host()).stack.on("gpu1")


def prove(units: tuple[Unit, ...], *, executing: bool = True, **more: Any) -> Outcome:
    facts = {Gpus: FOUND, Drivers: STATE, Docker: DOCKER, Proofs: {}} | more.pop("facts", {})
    fake = FakeHost(facts, connector_data=more.pop("connector_data", {}))
    return run(
        proof.made, fake, executing=executing, units=units, deployment="lab", directory=DIRECTORY
    )


def test_it_is_said_and_done_once(
    units: tuple[Unit, ...], announced: Callable[[], list[Any]]
) -> None:
    (wanted,) = proofs(units)
    planned = prove(units, executing=False)
    assert f"Will prove the cards in a container of {wanted.image}" in planned.shown
    assert len(planned.commands) == 1
    done = prove(units)
    (command,) = done.commands
    record, name, image, key, expected, fields, *access = words(command)
    assert (record, name) == (f"{DIRECTORY}/proven-gpus", "lab-proof")
    assert (image, key) == (wanted.image, wanted.key(FOUND, STATE, "28.5.2"))
    assert len(expected.splitlines()) == 2
    assert fields == "uuid,name,memory.total,driver_version"
    assert tuple(access) == wanted.access
    assert [row["action"] for row in announced()] == ["prove", "prove"]
    again = prove(units, facts={Proofs: {image: key}})
    assert (again.commands, len(again.host.noops)) == ([], 1)
    newer = prove(units, facts={Proofs: {image: key}, Docker: replace(DOCKER, version="29.1.0")})
    assert len(newer.commands) == 1


def test_a_setup_makes_it_due(units: tuple[Unit, ...]) -> None:
    """Also in a dry run, which cannot know what versions there will be."""
    (wanted,) = proofs(units)
    known = {Proofs: {wanted.image: wanted.key(FOUND, STATE, "28.5.2")}}
    fake = FakeHost({})
    for setup, is_due in (
        (HostSetup(), False),
        (HostSetup(steps=(Step(("hold", "apt", "nvidia-smi")),)), False),
        (HostSetup(steps=(Step(("install", "apt", "-", "-", "nvidia-smi")),)), True),
        (HostSetup(steps=(Step(("cdi",)),)), True),
        (HostSetup(reboot="nouveau is loaded"), True),
    ):
        fake.connector_data.clear()

        def remember(setup: HostSetup = setup) -> Any:
            proof.remember(setup)
            yield from ()

        run(type("Operation", (), {"_inner": staticmethod(remember)}), fake)
        outcome = prove(units, executing=False, facts=known, connector_data=fake.connector_data)
        assert bool(outcome.commands) is is_due, setup


def test_it_is_not_due_twice(units: tuple[Unit, ...]) -> None:
    assert DUE not in prove(units, connector_data={DUE: True}).host.connector_data


def test_a_host_without_the_cards_is_refused(units: tuple[Unit, ...]) -> None:
    lost = {Gpus: replace(FOUND, gpus=FOUND.gpus[:1])}
    (command,) = prove(units, facts=lost).commands
    assert isinstance(command, FunctionCommand)
    assert "nvidia-smi lists 1 cards" in str(command.args[0])
    # there may be no driver yet
    assert len(prove(units, facts=lost, executing=False).commands) == 1


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("    Failed to initialize NVML: Driver/library version mismatch", "restart the host"),
        ("    Failed to initialize NVML: Unknown Error", "gpu_runtime='cdi'"),
        ('    docker: exec: "nvidia-smi": executable file not found in $PATH: unknown.',
         "nvidia-cdi-refresh"),
        ("    docker: Error response from daemon: CDI device injection failed: unresolvable CDI "
         "devices nvidia.com/gpu=1", "nvidia-ctk cdi list"),
        ('    could not select device driver "cdi" with capabilities: []', '"features"'),
        ('    could not select device driver "" with capabilities: [[gpu]]', "restart Docker"),
        ("    sh: 2: cannot open /dev/kfd: Permission denied", "gpu_groups"),
        ("    GPU-0, NVIDIA L40S, 46068, 580.173.02", "engines were not touched"),
    ],
)  # fmt: skip
def test_what_is_found_has_a_fix(said: str, fix: str) -> None:
    command = ProofCommand("prove_gpus.sh", redact=str)
    lines = [OutputLine("stdout", line) for line in ("found:", said)]
    assert fix in command.explain(command.said(lines))
