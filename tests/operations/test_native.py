"""Engines as services of the host: what the operations announce and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api import OperationError

from deploy.artefacts import Artefacts
from deploy.changes.live import LiveService
from deploy.facts.deployment import Belongings, Deployment
from deploy.facts.engine import Resources
from deploy.facts.files import Contents, PathState, PathStates
from deploy.facts.health import Health
from deploy.facts.programs import InstalledProgram, OldPrograms
from deploy.facts.units import Units
from deploy.operations import deployment, old_program, orphan, program, units
from deploy.operations.program import InstallCommand
from deploy.operations.replica_changes import ReplicaChanges
from deploy.services import Holds, Tier
from deploy.spec import SecretName
from tests.conftest import MakeArtefacts
from tests.operations.found import found, live, live_service
from tests.operations.harness import FakeHost, Outcome, run, words
from tests.recognisable import LEAK, SECRETS

NAME = "demo-llama-cpp-tiny-coder-0"
ROUTER = "demo-litellm-0"
HOST: dict[str, Any] = {"name": "@local", "address": "10.0.0.7"}
NATIVE = HOST | {
    "engines": "native",
    "programs": {"llama-server": {"path": "/usr/bin/llama-server"}},
}
Announced = Callable[[], list[Any]]


@pytest.fixture
def native(make: MakeArtefacts) -> Artefacts:
    return make(hosts=[NATIVE], web_ui=None)


def converge(artefacts: Artefacts, *services: LiveService, **state: Any) -> Outcome:
    """Run the operation on a host with these services, and the router as wanted."""
    own = {service.name: service for service in services}
    seen = found(artefacts, [live(artefacts, ROUTER)], services=own)
    facts: dict[Any, Any] = {Contents: {}, Health: "", Units: replace(seen, **state)}
    return run(
        units.converged,
        FakeHost(facts, name="@local"),
        artefacts=artefacts,
        tier=Tier.ENGINE,
    )


def steps(announced: Announced) -> list[tuple[str, str]]:
    return [(row["action"], row["resource"]) for row in announced()]


def test_nothing_is_done_to_a_service_that_is_as_wanted(
    native: Artefacts, announced: Announced
) -> None:
    assert converge(native, live_service(native, NAME)).commands == []
    assert announced() == []


def test_a_first_service(native: Artefacts, announced: Announced) -> None:
    outcome = converge(native)
    assert steps(announced) == [("create", f"service {NAME}")]
    [command] = outcome.commands
    action, name, _, kind, text = words(command)
    assert (action, name, kind) == ("replace", NAME, "systemd")
    assert "ExecStart=/usr/bin/llama-server" in text
    assert outcome.stdin == [f'LLAMA_API_KEY="{SECRETS[SecretName.ENGINE_API_KEY]}"\n']
    assert LEAK not in outcome.shown


def test_a_changed_argument(make: MakeArtefacts, announced: Announced) -> None:
    before = make(hosts=[NATIVE], web_ui=None)
    after = make(hosts=[NATIVE], web_ui=None, engine={"threads": 3})
    converge(after, live_service(before, NAME))
    [row] = announced()
    assert [(f["field"], f["old"], f["new"]) for f in row["fields"]] == [
        ("command", "(none)", "--threads 3")
    ]


def test_another_key_is_not_shown(native: Artefacts, announced: Announced) -> None:
    spec = live_service(native, NAME).spec
    assert spec is not None
    old = live_service(native, NAME, spec=spec | {"secret_env": {"LLAMA_API_KEY": "hmac:old"}})
    outcome = converge(native, old)
    [row] = announced()
    assert [f["field"] for f in row["fields"]] == ["secret_env.LLAMA_API_KEY"]
    assert LEAK not in outcome.shown


def test_one_that_does_not_run_says_why_without_secrets(native: Artefacts) -> None:
    key = SECRETS[SecretName.ENGINE_API_KEY]
    failing = live_service(native, NAME, state="restarting", last_line=f"bad key {key}")
    outcome = converge(native, failing)
    assert any("bad key <engine_api_key>" in line for line in outcome.host.said)
    assert key not in outcome.shown
    assert words(outcome.commands[0])[:2] == ["restart", NAME]


def test_one_that_would_not_start_with_the_host(native: Artefacts, announced: Announced) -> None:
    outcome = converge(native, live_service(native, NAME, starts_with_host=False))
    assert steps(announced) == [("enable", f"service {NAME}")]
    assert words(outcome.commands[0])[:2] == ["enable", NAME]


def test_a_service_of_others_is_left_alone(native: Artefacts) -> None:
    theirs = live_service(native, NAME, deployment=None)
    with pytest.raises(OperationError, match=f"service {NAME} belongs to somebody else"):
        converge(native, theirs)


def test_a_service_takes_the_port_of_an_orphan(make: MakeArtefacts, announced: Announced) -> None:
    """They are a group: the old one stops, the new one starts, and the old one comes back."""
    artefacts = make(hosts=[NATIVE], web_ui=None)
    old = replace(live_service(artefacts, NAME), name="demo-llama-cpp-old-0")
    outcome = converge(artefacts, old)
    assert steps(announced) == [
        ("remove", "service demo-llama-cpp-old-0"),
        ("create", f"service {NAME}"),
    ]
    prepared, swapped = (words(command) for command in outcome.commands)
    assert prepared[:2] == ["prepare", NAME]
    assert swapped[:2] == ["swap", f"demo-llama-cpp-old-0,{NAME}"]


def test_an_orphan_goes(native: Artefacts, announced: Announced) -> None:
    own = live_service(native, NAME)
    old = replace(own, name="demo-llama-cpp-old-0", holds=Holds())
    services = {service.name: service for service in (own, old)}
    seen = found(native, [live(native, ROUTER)], services=services)
    facts: dict[Any, Any] = {Units: seen, Resources: {}}
    outcome = run(
        orphan.removed, FakeHost(facts, name="@local"), artefacts=native, replicas=ReplicaChanges()
    )
    assert steps(announced) == [("remove", "service demo-llama-cpp-old-0")]
    assert words(outcome.commands[0]) == ["remove", "demo-llama-cpp-old-0", "0"]


def test_a_program_is_installed_once(
    make: MakeArtefacts, tmp_path: Any, announced: Announced
) -> None:
    from tests.services.test_native import archive_with

    declared = {"archive": str(archive_with(tmp_path / "a.tar.gz")), "version": "b1"}
    artefacts = make(hosts=[NATIVE | {"programs": {"llama-server": declared}}])
    wanted = artefacts.stack.units[0].program
    assert wanted is not None
    there = {str(wanted.path): PathState(1, 0o755)}
    outcomes = [
        run(program.present, FakeHost({PathStates: state}), program=wanted) for state in ({}, there)
    ]
    assert [type(command) for command in outcomes[0].commands] == [InstallCommand]
    assert outcomes[1].commands == []
    assert steps(announced) == [("install", "program llama-server b1")]


def test_old_programs_go(announced: Announced) -> None:
    place = "/var/lib/atelier/programs"
    installed = tuple(
        InstalledProgram(f"{place}/llama-server/{name}", 5_000_000, is_used)
        for name, is_used in (("old", False), ("used", True), ("wanted", False))
    )
    outcome = run(
        old_program.removed,
        FakeHost({OldPrograms: installed}),
        directory=place,
        wanted=[f"{place}/llama-server/wanted"],
    )
    assert steps(announced) == [("remove", f"program {place}/llama-server/old")]
    assert words(outcome.commands[0]) == ["remove", f"{place}/llama-server/old"]


@pytest.mark.parametrize("volumes", [True, False])
def test_a_whole_deployment_goes(announced: Announced, volumes: bool) -> None:
    there = Belongings(services=(NAME,), data=("/var/lib/atelier.demo",))
    outcome = run(
        deployment.absent,
        FakeHost({Deployment: there}),
        deployment="demo",
        directory="/var/lib/atelier/deployments/demo",
        volumes=volumes,
    )
    assert words(outcome.commands[0]) == ["remove", NAME, "0"]
    data = [("remove", "data /var/lib/atelier.demo")] if volumes else []
    assert steps(announced) == [("remove", f"service {NAME}"), *data]
    gone = "rm -rf /var/lib/atelier.demo /var/lib/private/atelier.demo"
    assert (gone in outcome.shell) == volumes
