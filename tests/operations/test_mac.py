"""Ollama on a Mac: what the operations announce and run."""

from __future__ import annotations

import hashlib
import plistlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api import OperationError

from deploy.artefacts import Artefacts
from deploy.changes.live import LiveService
from deploy.facts.files import Contents, PathState, PathStates
from deploy.facts.mac import Mac
from deploy.facts.model_store import MadeModel, ModelStore
from deploy.facts.units import FileState, Units, UnitsState
from deploy.hosts.mac.state import MacState
from deploy.operations import mac, program, units
from deploy.operations.program import InstallCommand
from deploy.operations.questions import questions
from deploy.services import ConfigFile, Tier
from deploy.services.ollama_model import manifest_path
from tests.conftest import MakeArtefacts
from tests.operations.found import live_service
from tests.operations.harness import FakeHost, Outcome, run, words
from tests.recognisable import LEAK
from tests.services.test_launchd import on_a_mac

NAME = "demo-ollama-qwen2.5-coder-7b-0"
Announced = Callable[[], list[Any]]


@pytest.fixture
def artefacts(make: MakeArtefacts) -> Artefacts:
    return on_a_mac(make)


def store(artefacts: Artefacts) -> ModelStore:
    """The model, pulled and loaded."""
    [unit] = artefacts.stack.on("mac")
    [model] = unit.models
    name, source = model.name, model.source
    made = {name: MadeModel(source, "d1")}
    return ModelStore(made, {manifest_path(name): "d1"}, frozenset({name}))


def converge(artefacts: Artefacts, *services: LiveService, has_model: bool = True) -> Outcome:
    """Run the operation on a Mac with these daemons."""
    stores = {NAME: store(artefacts)} if has_model else {}
    found = UnitsState(services={each.name: each for each in services}, stores=stores)
    host = FakeHost({Units: found}, name="mac")
    return run(units.converged, host, artefacts=artefacts, tier=Tier.ENGINE)


def steps(announced: Announced) -> list[tuple[str, str]]:
    return [(row["action"], row["resource"]) for row in announced()]


def test_a_first_daemon_and_its_model(artefacts: Artefacts, announced: Announced) -> None:
    outcome = converge(artefacts, has_model=False)
    [unit] = artefacts.stack.on("mac")
    model = unit.models[0].name
    assert steps(announced) == [
        ("create", f"service {NAME}"),
        ("pull", f"model {model} in {NAME}"),
    ]
    created, pulled = (words(command) for command in outcome.commands)
    assert created[:2] + created[3:4] == ["replace", NAME, "launchd"]
    assert plistlib.loads(created[4].encode())["Label"] == NAME
    assert created[5].startswith("Deployment=demo\n")
    assert pulled == ["pull", NAME, model, manifest_path(model), "library"]


def test_nothing_is_done_to_one_that_is_as_wanted(
    artefacts: Artefacts, announced: Announced
) -> None:
    assert converge(artefacts, live_service(artefacts, NAME)).commands == []
    assert announced() == []


def test_another_version_replaces_it(make: MakeArtefacts, announced: Announced) -> None:
    """And the version before is kept on the Mac, to go back to."""
    before = on_a_mac(make)
    program = {"archive": "https://lab.example/x.tgz", "sha256": "cd" * 32, "version": "0.35.0"}
    after = on_a_mac(make, mac={"programs": {"ollama": program}})
    outcome = converge(after, live_service(before, NAME))
    [row, loads] = announced()
    assert (row["action"], row["resource"]) == ("recreate", f"service {NAME}")
    assert ("version", "ollama 0.34.4", "ollama 0.35.0") in [
        (f["field"], f["old"], f["new"]) for f in row["fields"]
    ]
    assert loads["action"] == "load"
    assert [words(command)[0] for command in outcome.commands] == ["replace", "load"]
    back = converge(before, live_service(after, NAME))
    assert [words(command)[0] for command in back.commands] == ["replace", "load"]


def test_an_edited_property_list(artefacts: Artefacts, announced: Announced) -> None:
    now = live_service(artefacts, NAME)
    edited = replace(now, files=now.files | {"unit file": "0" * 64})
    converge(artefacts, edited)
    fields = [(f["field"], f["old"], f["new"]) for f in announced()[0]["fields"]]
    assert fields == [("live unit file", "edited", "as written")]


def test_one_that_would_not_start_with_the_mac(artefacts: Artefacts, announced: Announced) -> None:
    converge(artefacts, live_service(artefacts, NAME, starts_with_host=False))
    assert steps(announced)[0] == ("enable", f"service {NAME}")


def test_a_daemon_of_others_is_left_alone(artefacts: Artefacts) -> None:
    theirs = live_service(artefacts, NAME, deployment=None)
    with pytest.raises(OperationError, match=f"service {NAME} belongs to somebody else"):
        converge(artefacts, theirs)


def test_the_mac_is_set_up_once(artefacts: Artefacts, announced: Announced) -> None:
    found = MacState(power={"sleep": "1"}, wired_limit_mib=0)
    outcome = run(mac.set_up, {Mac: found}, spec=artefacts.host("mac"))
    assert steps(announced) == [
        ("update", "power settings"),
        ("create", "service atelier.logs"),
    ]
    power, logs = (words(command) for command in outcome.commands)
    assert power == ["power", "sleep", "0"]
    assert logs[:2] == ["daemon", "atelier.logs"]


def test_its_program_is_installed_once(artefacts: Artefacts, announced: Announced) -> None:
    [unit] = artefacts.stack.on("mac")
    wanted = unit.program
    assert wanted is not None
    there = {str(wanted.path): PathState(1, 0o755)}
    outcomes = [
        run(program.present, FakeHost({PathStates: state}), program=wanted) for state in ({}, there)
    ]
    assert [type(command) for command in outcomes[0].commands] == [InstallCommand]
    assert outcomes[1].commands == []
    assert steps(announced) == [("install", "program ollama 0.34.4")]


def test_a_mac_is_asked_nothing_of_docker_and_drivers(artefacts: Artefacts) -> None:
    asked = {question.fact.__name__ for question in questions(artefacts, "mac")}
    assert asked == {"MacHost", "Mac", "Images", "Resources", "PathStates", "Units"}
    others = {question.fact.__name__ for question in questions(artefacts, "web")}
    assert {"Host", "Docker"} <= others


def on_tier(artefacts: Artefacts, tier: Tier, *, other: str = "") -> Outcome:
    """Run the operation on a Mac as it is wanted, but for one file of the tier's unit."""
    [unit] = [unit for unit in artefacts.stack.on("mac") if unit.tier == tier]
    tree = unit.config
    assert tree is not None
    files = {name: state_of(file, artefacts) for name, file in tree.files.items()}
    if other:
        files[other] = replace(files[other], sha256="of another one")
    place = str(tree.directory)
    found = UnitsState(
        services={unit.name: live_service(artefacts, unit.name)},
        releases={place: files},
        changed_at={place: 1000},
    )
    host = FakeHost({Units: found, Contents: {}}, name="mac")
    return run(units.converged, host, artefacts=artefacts, tier=tier)


def state_of(file: ConfigFile, artefacts: Artefacts) -> FileState:
    content = file.content
    text = content if isinstance(content, str) else artefacts.secrets.render(content)
    return FileState(file.mode, hashlib.sha256(text.encode()).hexdigest())


def test_a_link_gets_another_certificate_and_goes_on(
    make: MakeArtefacts, announced: Announced
) -> None:
    """HAProxy is asked whether it would take it, and waited for; the daemon is not replaced."""
    linked = on_a_mac(make, engine={"kind": "ollama"})
    assert on_tier(linked, Tier.LINK).commands == []
    outcome = on_tier(linked, Tier.LINK, other="link.pem.key")
    assert [(action, name.rsplit("/", 1)[1]) for action, name in steps(announced)] == [
        ("update", "link.pem.key")
    ]
    [line] = outcome.shell
    check = "sudo -n -u ollama /opt/homebrew/bin/haproxy -c -C"
    assert line.index("tar -xzp --same-owner") < line.index(check) < line.index("mv ")
    assert line.index("mv ") < line.index("link/taken")
    assert "docker" not in line


def test_another_key_of_the_engines_restarts_llama_cpp(
    make: MakeArtefacts, announced: Announced
) -> None:
    """It reads the file once; the key is in no argument, so that nothing else would differ."""
    programs = {"programs": {"llama-server": {"path": "/opt/llama-server"}}}
    engine = {"kind": "llama_cpp"}
    llama = on_a_mac(make, mac=programs, engine=engine, models=[{"name": "tiny-coder"}])
    assert on_tier(llama, Tier.ENGINE).commands == []
    outcome = on_tier(llama, Tier.ENGINE, other="api_key")
    assert [action for action, _ in steps(announced)] == ["update", "restart"]
    assert words(outcome.commands[-1])[:2] == ["restart", "demo-llama-cpp-tiny-coder-0"]
    assert LEAK not in outcome.shown
