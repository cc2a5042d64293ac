"""What is done about containers, models and files that the plan no longer has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.changes.live import LiveContainer
from deploy.facts.engine import Resources
from deploy.facts.model_store import MadeModel, ModelStore
from deploy.facts.units import Units, UnitsState
from deploy.operations import orphan
from deploy.operations.replica_changes import ReplicaChanges
from deploy.services import Holds
from tests.conftest import MakeArtefacts
from tests.operations.found import found, live, releases, stranger
from tests.operations.harness import FakeHost, Outcome, run, words

LITELLM = "/var/lib/atelier/deployments/demo/config/litellm"
OLLAMA = "demo-ollama-tiny-coder-0"
Announced = Callable[[], list[Any]]


def remove(artefacts: Artefacts, *more: LiveContainer, **differences: Any) -> Outcome:
    """Run the operation where everything is as wanted, with other things beside it."""
    own = [live(artefacts, unit.name) for unit in artefacts.stack.units]
    volumes = differences.pop("volumes", {})
    facts: dict[Any, Any] = {
        Units: found(artefacts, [*own, *more], **differences),
        Resources: {f"volume {name}": owner for name, owner in volumes.items()},
    }
    return run(
        orphan.removed,
        FakeHost(facts, name="@local"),
        artefacts=artefacts,
        replicas=ReplicaChanges(),
    )


def rows(announced: Announced) -> list[tuple[str, str]]:
    return [(row["action"], row["resource"]) for row in announced()]


def test_orphans_are_removed(demo: Artefacts, announced: Announced) -> None:
    files = releases(demo) | {f"{LITELLM}/old": {}}
    outcome = remove(demo, stranger(demo, "demo-old-0"), releases=files)
    assert words(outcome.commands[0]) == ["remove", "demo-old-0", "0"]
    assert outcome.shell[1:] == [f"rm -rf {LITELLM}/old"]
    assert rows(announced) == [
        ("remove", "container demo-old-0"),
        ("remove", f"configuration {LITELLM}/old"),
    ]


def test_what_a_router_was_told_goes_with_it(
    demo: Artefacts, make: MakeArtefacts, announced: Announced
) -> None:
    """The engines' key is among it."""
    live_directory = "/var/lib/atelier/deployments/demo/live"
    told = (f"{live_directory}/haproxy", f"{live_directory}/litellm")
    outcome = remove(demo, told=told)
    assert outcome.shell == [f"rm -rf {live_directory}/haproxy"]
    assert rows(announced) == [("remove", f"directory {live_directory}/haproxy")]
    hosts = [{"name": name, "address": f"10.0.0.{n}"} for n, name in enumerate("ab", 1)]
    moved = make(hosts=hosts, router={"host": "b"})
    for name, gone in (("a", told), ("b", told[:1])):
        facts: dict[Any, Any] = {Units: UnitsState(told=told), Resources: {}}
        outcome = run(
            orphan.removed, FakeHost(facts, name=name), artefacts=moved, replicas=ReplicaChanges()
        )
        assert outcome.shell == [f"rm -rf {path}" for path in gone]


def test_orphans_that_shared_a_gpu_for_which_no_one_waits_are_removed(
    demo: Artefacts, announced: Announced
) -> None:
    """As a run that was killed when the new engine served leaves them."""
    both = [
        stranger(demo, f"demo-{name}-0.previous", holds=Holds(gpus={0: 0.6}), state="exited")
        for name in ("one", "two")
    ]
    remove(demo, *both)
    assert rows(announced) == [
        ("remove", "container demo-one-0.previous"),
        ("remove", "container demo-two-0.previous"),
    ]


def test_an_entry_that_goes_answers_before_its_listener_goes(demo: Artefacts) -> None:
    """What is open there is open in the network of the listener."""
    listener = replace(stranger(demo, "demo-listener-0"), service="listener")
    outcome = remove(demo, listener, stranger(demo, "demo-haproxy-0"))
    assert [words(each)[:2] for each in outcome.commands] == [
        ["remove", "demo-haproxy-0"],
        ["remove", "demo-listener-0"],
    ]


def test_what_an_interrupted_change_left_of_an_orphan_goes_too(
    demo: Artefacts, announced: Announced
) -> None:
    remove(demo, stranger(demo, "demo-old-0.previous"))
    assert rows(announced) == [("remove", "container demo-old-0.previous")]


@pytest.mark.parametrize("name", ["demo-litellm-0.next", "demo-litellm-0.previous"])
def test_what_a_change_left_of_a_unit_is_not_an_orphan(
    demo: Artefacts, name: str, announced: Announced
) -> None:
    """The operation that changes units removes it, and announces it."""
    assert remove(demo, stranger(demo, name)).commands == []
    assert announced() == []


def test_containers_of_others_are_left_alone(demo: Artefacts, announced: Announced) -> None:
    assert remove(demo, stranger(demo, "lab-litellm-0", deployment="lab")).commands == []
    assert announced() == []


def test_of_a_shared_ollama_only_the_model_goes_that_is_dropped(
    make: MakeArtefacts, announced: Announced
) -> None:
    models = [{"name": "tiny-coder"}, {"name": "qwen2.5-coder-7b", "roles": ["chat"]}]
    artefacts = make(engine={"kind": "ollama", "shared": "desk"}, models=models)
    [unit] = [unit for unit in artefacts.stack.units if unit.models]
    made = {model.name: MadeModel(model.source, "d") for model in unit.models}
    dropped = {"old:latest": MadeModel("0123-4567", "d")}
    stores = {unit.name: ModelStore(made=made | dropped)}
    remove(artefacts, stores=stores)
    assert rows(announced) == [("remove", f"model old:latest in {unit.name}")]


def test_models_that_are_no_longer_declared_go(make: MakeArtefacts, announced: Announced) -> None:
    """Those of a kept container but the wanted one, and of a container that goes, all of them."""
    artefacts = make(engine={"kind": "ollama"})
    [model] = [model for unit in artefacts.stack.units for model in unit.models]
    made = MadeModel(model.source, "d")
    outcome = remove(
        artefacts,
        stranger(artefacts, "demo-ollama-b-0"),
        stores={OLLAMA: ModelStore(made={"a:q4": made, model.name: made})},
        other_models=(("demo-ollama-b-0", "b:latest"),),
    )
    assert rows(announced) == [
        ("remove", "model b:latest in demo-ollama-b-0"),
        ("remove", f"model a:q4 in {OLLAMA}"),
        ("remove", "container demo-ollama-b-0"),
    ]
    assert [command.split()[-4:] for command in outcome.shell[:2]] == [
        ["atelier", "remove", "demo-ollama-b-0", "b:latest"],
        ["atelier", "remove", OLLAMA, "a:q4"],
    ]


def test_models_of_an_ollama_that_a_killed_run_set_aside_go(
    make: MakeArtefacts, announced: Announced
) -> None:
    name = "demo-ollama-b-0.previous"
    artefacts = make(engine={"kind": "ollama"})
    remove(artefacts, stranger(artefacts, name), other_models=((name, "b:latest"),))
    assert rows(announced) == [
        ("remove", f"model b:latest in {name}"),
        ("remove", f"container {name}"),
    ]


VLLM = {"kind": "vllm", "offline": True, "huggingface_cache": "/srv/hf"}


def test_what_was_compiled_goes_with_the_last_replica(
    make: MakeArtefacts, announced: Announced
) -> None:
    artefacts = make(engine=VLLM, models=[{"name": "qwen2.5-coder-0.5b"}])
    volumes = {
        "demo-vllm-qwen2.5-coder-0.5b": "demo",
        # of an earlier release, which had one for each replica
        "demo-vllm-qwen2.5-coder-0.5b-0": "demo",
        "demo-vllm-gone": "demo",
        "demo-vllm-of-others": "lab",
        "demo-vllm-of-nobody": "",
        "demo-open-webui": "demo",
        "demo-huggingface": "demo",
        "demo-ollama-gone-0": "demo",
    }
    outcome = remove(artefacts, volumes=volumes)
    gone = ["demo-vllm-gone", "demo-vllm-qwen2.5-coder-0.5b-0"]
    assert outcome.shell == [f"docker volume rm {name}" for name in gone]
    assert rows(announced) == [("remove", f"volume {name}") for name in gone]


def test_what_was_compiled_goes_after_the_container_that_has_it(
    demo: Artefacts, announced: Announced
) -> None:
    volumes = {"demo-vllm-coder": "demo"}
    outcome = remove(demo, stranger(demo, "demo-vllm-coder-0"), volumes=volumes)
    assert words(outcome.commands[0]) == ["remove", "demo-vllm-coder-0", "0"]
    assert outcome.shell[1:] == ["docker volume rm demo-vllm-coder"]
    assert [row["action"] for row in announced()] == ["remove", "remove"]
