"""The model of a container: what is done about it in every state that is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.facts.health import Health
from deploy.facts.model_store import MadeModel, ModelStore
from deploy.facts.units import Units
from deploy.operations import units
from deploy.services import StoredModel, Tier, Unit
from deploy.services.ollama_model import manifest_path
from tests.conftest import MakeArtefacts
from tests.operations.found import found, live
from tests.operations.harness import FakeHost, Outcome, run

NAME, MODEL, DIGEST = "demo-ollama-tiny-coder-0", "tiny-coder:latest", "ab" * 32
MANIFEST = "registry.ollama.ai/library/tiny-coder/latest"
CHAT = "qwen2.5-coder:7b-instruct-q4_K_M"
Announced = Callable[[], list[Any]]


@pytest.fixture
def created(make: MakeArtefacts) -> Artefacts:
    return make(engine={"kind": "ollama"})


def engine(artefacts: Artefacts) -> Unit:
    return next(unit for unit in artefacts.stack.units if unit.tier == Tier.ENGINE)


def model(artefacts: Artefacts) -> StoredModel:
    [found] = engine(artefacts).models
    return found


def store(artefacts: Artefacts, **differences: Any) -> ModelStore:
    """Everything as wanted, but for the differences."""
    as_wanted = ModelStore(
        made={MODEL: MadeModel(model(artefacts).source, DIGEST)},
        digests={MANIFEST: DIGEST},
        loaded=frozenset([MODEL]),
    )
    return replace(as_wanted, **differences)


def converge(artefacts: Artefacts, store: ModelStore, *, state: str | None = "running") -> Outcome:
    """Run the operation on a host with such a store, and a container in such a state."""
    name = engine(artefacts).name
    there = [live(artefacts, name, state=state)] if state else []
    facts: dict[Any, Any] = {Units: found(artefacts, there, stores={name: store}), Health: ""}
    return run(
        units.converged,
        FakeHost(facts, name="@local"),
        artefacts=artefacts,
        tier=Tier.ENGINE,
    )


def scripts(outcome: Outcome) -> list[list[str]]:
    """The arguments of each script, from its action on."""
    return [
        [getattr(bit, "obj", bit) for bit in command.bits[4:]]  # type: ignore[attr-defined]
        for command in outcome.commands
    ]


def actions(announced: Announced) -> list[tuple[str, str]]:
    return [(row["action"], row["resource"]) for row in announced()]


def test_nothing_is_done_to_a_model_that_is_as_wanted(
    created: Artefacts, announced: Announced
) -> None:
    assert converge(created, store(created)).commands == []
    assert announced() == []


def test_what_a_killed_run_was_making_does_not_stay_beside_the_model(
    created: Artefacts, announced: Announced
) -> None:
    left = MANIFEST.replace("latest", "atelier-next")
    outcome = converge(created, store(created, digests={MANIFEST: DIGEST, left: "cd" * 32}))
    assert [words[0] for words in scripts(outcome)] == ["create"]
    assert [row["fields"][0]["old"] for row in announced()] == ["left by an interrupted change"]


def test_the_first_deployment_announces_container_and_model(
    created: Artefacts, announced: Announced
) -> None:
    outcome = converge(created, ModelStore(), state=None)
    replacement, creation = scripts(outcome)
    assert replacement[:2] == ["replace", NAME]
    assert creation == ["create", NAME, MODEL, MANIFEST, model(created).source]
    assert outcome.stdin[-1].startswith("FROM /models/tiny-coder-q8_0.gguf")
    assert actions(announced) == [
        ("create", f"container {NAME}"),
        ("create", f"model {MODEL} in {NAME}"),
    ]


def test_a_model_of_the_library_is_pulled(make: MakeArtefacts) -> None:
    chat = {"name": "qwen2.5-coder-7b", "roles": ["chat"]}
    artefacts = make(engine={"kind": "ollama"}, models=[chat])
    outcome = converge(artefacts, ModelStore(), state=None)
    name = "qwen2.5-coder:7b-instruct-q4_K_M"
    path = "registry.ollama.ai/library/qwen2.5-coder/7b-instruct-q4_K_M"
    assert scripts(outcome)[1] == ["pull", "demo-ollama-qwen2.5-coder-7b-0", name, path, "library"]


@pytest.mark.parametrize(
    ("differences", "field"),
    [
        ({"digests": {}}, "model"),
        ({"made": {}}, "made from"),
        ({"made": {MODEL: MadeModel("0123-4567", DIGEST)}}, "made from"),
        ({"made": {MODEL: MadeModel("-", "-")}}, "made from"),
        ({"digests": {MANIFEST: "cd" * 32}}, "digest"),
    ],
    ids=["removed", "not ours", "other file", "interrupted", "edited"],
)
def test_a_model_that_differs_is_created_again(
    created: Artefacts, announced: Announced, differences: dict[str, Any], field: str
) -> None:
    outcome = converge(created, store(created, **differences))
    assert [arguments[0] for arguments in scripts(outcome)] == ["create"]
    [row] = announced()
    assert [change["field"] for change in row["fields"]] == [field]


def test_a_resident_model_that_is_not_loaded_is_loaded(
    created: Artefacts, announced: Announced
) -> None:
    outcome = converge(created, store(created, loaded=frozenset()))
    assert scripts(outcome) == [["load", NAME, MODEL]]
    assert actions(announced) == [("load", f"model {MODEL} in {NAME}")]


def test_a_started_container_loads_its_model(created: Artefacts) -> None:
    outcome = converge(created, store(created), state="exited")
    assert [arguments[0] for arguments in scripts(outcome)] == ["start", "load"]


def test_a_model_that_need_not_stay_is_not_loaded(make: MakeArtefacts) -> None:
    artefacts = make(engine={"kind": "ollama", "keep_alive": "5m"})
    assert converge(artefacts, store(artefacts, loaded=frozenset())).commands == []


SHARED = "demo-ollama-desk-0"


@pytest.fixture
def shared(make: MakeArtefacts) -> Artefacts:
    """Two models in one Ollama; one of them is of its library."""
    chat = {"name": "qwen2.5-coder-7b", "roles": ["chat"]}
    engine = {"kind": "ollama", "shared": "desk", "max_model_len": 2048}
    return make(engine=engine, models=[chat, {"name": "tiny-coder"}])


def shared_store(artefacts: Artefacts, *names: str) -> ModelStore:
    """A store that has these of the models; none of them is loaded."""
    models = [each for each in engine(artefacts).models if each.name in names]
    return ModelStore(
        made={each.name: MadeModel(each.source, DIGEST) for each in models},
        digests={manifest_path(each.name): DIGEST for each in models},
    )


def test_every_model_of_a_shared_ollama_is_made(shared: Artefacts, announced: Announced) -> None:
    outcome = converge(shared, ModelStore(), state=None)
    assert [arguments[:3] for arguments in scripts(outcome)] == [
        ["replace", SHARED, *scripts(outcome)[0][2:3]],
        ["pull", SHARED, CHAT],
        ["create", SHARED, MODEL],
    ]
    assert actions(announced) == [
        ("create", f"container {SHARED}"),
        ("pull", f"model {CHAT} in {SHARED}"),
        ("create", f"model {MODEL} in {SHARED}"),
    ]


@pytest.mark.parametrize(
    ("there", "action"), [(CHAT, "create"), (MODEL, "pull")], ids=["of a file", "of the library"]
)
def test_a_model_that_is_added_is_all_that_is_made(
    shared: Artefacts, announced: Announced, there: str, action: str
) -> None:
    outcome = converge(shared, shared_store(shared, there))
    [name] = {CHAT, MODEL} - {there}
    assert [arguments[:3] for arguments in scripts(outcome)] == [[action, SHARED, name]]
    assert actions(announced) == [(action, f"model {name} in {SHARED}")]


def test_models_of_a_shared_ollama_are_not_loaded(shared: Artefacts, announced: Announced) -> None:
    """It loads them itself, also after a restart."""
    whole = shared_store(shared, CHAT, MODEL)
    assert converge(shared, whole).commands == []
    assert announced() == []
    assert [each[0] for each in scripts(converge(shared, whole, state="exited"))] == ["start"]
