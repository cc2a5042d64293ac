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
from tests.conftest import MakeArtefacts
from tests.operations.found import found, live
from tests.operations.harness import FakeHost, Outcome, run

NAME, MODEL, DIGEST = "demo-ollama-tiny-coder-0", "tiny-coder:latest", "ab" * 32
MANIFEST = "registry.ollama.ai/library/tiny-coder/latest"
Announced = Callable[[], list[Any]]


@pytest.fixture
def created(make: MakeArtefacts) -> Artefacts:
    return make(engine={"kind": "ollama"})


def engine(artefacts: Artefacts) -> Unit:
    return next(unit for unit in artefacts.stack.units if unit.tier == Tier.ENGINE)


def model(artefacts: Artefacts) -> StoredModel:
    found = engine(artefacts).model
    assert found is not None
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
