"""Ordinary changes on hosts that remember: as announced, once, and after any kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.inventory import load_inventory
from deploy.services.container import LABEL_SPEC
from tests.world.site import Settings, World

TINY = str(load_catalog().models["tiny-coder"].path)
A, B = ({"name": f"@fake/{name}", "address": f"10.0.0.{n}"} for n, name in enumerate("ab", 1))
C, D = ({"name": f"@fake/{name}", "address": f"10.0.0.{n}"} for n, name in enumerate("cd", 3))
CARD = {"gpus": "1x l40s"}
NATIVE = {"engines": "native", "programs": {"llama-server": {"path": "/usr/bin/llama-server"}}}
TWICE = {"models": [{"name": "tiny-coder", "replicas": 2}]}
SMALL, MIDDLE, LARGE = (
    {"name": f"qwen2.5-coder-{size}", "roles": ["chat"]} for size in ("0.5b", "1.5b", "7b")
)
VLLM: Settings = {"kind": "vllm", "offline": True}
WIDE: Settings = {
    "engine": VLLM | {"nnodes": 2, "trusted_network": True},
    "models": [LARGE],
    "router": {"host": C["name"]},
}
EXCHANGED: Settings = {"engine": {"port": 4000}, "router": {"port": 8000}}

ONE: Settings = {"hosts": [A]}
SEVERAL: Settings = {
    "hosts": [A],
    "web_ui": {"replicas": 2},
    "router": {"replicas": 2},
    "postgres": {},
    "valkey": {},
    "entry": {},
}
TWO_MODELS: Settings = {"hosts": [A | CARD], "engine": VLLM, "models": [SMALL, LARGE]}
ANOTHER_MODEL: Settings = {"hosts": [A | CARD], "engine": VLLM, "models": [MIDDLE]}
FIRST, SECOND = (
    {
        "hosts": [A],
        "engine": {"kind": "ollama", "memory_limit": "4GiB", "max_model_len": 2048},
        "models": [{"name": name, "path": TINY}],
    }
    for name in ("first", "second")
)
"""Of which only one fits into 7 GiB, next to the router."""
ON_CARDS: Settings = {
    "hosts": [A | CARD, B | CARD, C],
    "engine": {"kind": "ollama", "max_model_len": 2048},
    "models": [{"name": "first", "path": TINY, "replicas": 2}],
    "router": {"host": C["name"]},
}
"""Ollama on both hosts of a replica that comes."""
ON_TWO_HOSTS: Settings = {"hosts": [A | NATIVE, B | NATIVE], **TWICE}
AS_ONE: Settings = {"hosts": [A | CARD, B | CARD, C], **WIDE}
ON_BY_A_HOST: Settings = {"hosts": [B | CARD, D | CARD, A | CARD, C], **WIDE}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def declared(world: World) -> Artefacts:
    """What is declared, with the secrets that are kept by now."""
    found = load_inventory(world.inventory)
    return make_artefacts(found.spec, found.directory)


def assert_as_wanted(world: World) -> None:
    """Everything runs as described, and nothing else is there."""
    artefacts = declared(world)
    machines = json.loads((world.directory / "machines.json").read_text())
    running, left = world.running(), world.left()
    for host, machine in machines.items():
        state, own = world.state(machine), artefacts.stack.on(host)
        assert running.get(machine, set()) == {unit.name for unit in own}
        assert [n for n in left.get(machine, ()) if ".ending-" not in n] == []
        # Docker makes volumes that nobody made before
        assert {*state.get("volumes", {}).values()} <= {"demo"}
        # the engines' keys are where a router reads them
        keys = {path.parent.name for path in (world.directory / machine).rglob("engine_keys")}
        assert keys == {unit.runs.service for unit in own if unit.runs.service == "litellm"}
        for unit in own:
            marks, digest = unit.marks("demo"), artefacts.secrets.digest
            if unit.image_name:
                labels = state["containers"][unit.name]["labels"]
                assert labels[LABEL_SPEC] == unit.container.labels(marks, digest)[LABEL_SPEC]
            else:
                [text, *_] = unit.create_arguments("demo", digest)
                assert state["services"][unit.name]["text"] == text


def become(world: World, settings: Settings) -> None:
    """Dry run, run, and a run that changes nothing."""
    world.declare(settings)
    # what is made up in each run until it is kept has other digests in each
    declared(world).secrets.save()
    world.converged_twice()
    assert_as_wanted(world)


@pytest.mark.parametrize(
    "steps",
    [
        [ONE, SEVERAL, {"hosts": [A], "web_ui": {"port": 4000}, "router": {"port": 3000}}],
        [
            {"hosts": [A], "router": {"kind": "aristote"}, "postgres": {"web_ui": False}},
            {
                "hosts": [A],
                "routers": [{"port": 4000}, {"kind": "aristote", "port": 4001}],
                "postgres": {"web_ui": False},
            },
            {"hosts": [A], "postgres": {"web_ui": False}},
        ],
        [
            {"hosts": [A, B], **TWICE},
            {"hosts": [A, B], **TWICE, "router": {"host": B["name"]}, "entry": {}},
            {"hosts": [A, B], "models": [{"name": "tiny-coder"}]},
        ],
        [ON_TWO_HOSTS, ON_TWO_HOSTS | EXCHANGED, {"hosts": [A | NATIVE, B], **TWICE}],
        [TWO_MODELS, ANOTHER_MODEL, AS_ONE, ON_BY_A_HOST],
        [
            {"hosts": [A], "engine": {"kind": "ollama", "max_model_len": 2048}},
            {"hosts": [A], "engine": {"kind": "ollama", "shared": "desk", "max_model_len": 2048}},
            ONE,
        ],
    ],
    ids=["one host", "routers", "links", "services", "cards", "Ollama"],
)
def test_a_change_is_made_as_announced_and_once(world: World, steps: list[Settings]) -> None:
    for settings in steps:
        become(world, settings)


def test_a_host_that_gets_another_name_keeps_what_it_has(world: World) -> None:
    become(world, {"hosts": [A, B], **TWICE})
    before = world.state("b")["containers"]["demo-llama-cpp-tiny-coder-1"]["id"]
    world.declare({"hosts": [A, B | {"name": "@fake/renamed"}], **TWICE}, {"@fake/renamed": "b"})
    world.converged_twice()
    assert_as_wanted(world)
    assert world.state("b")["containers"]["demo-llama-cpp-tiny-coder-1"]["id"] == before


def test_a_model_makes_room_for_another_in_the_memory_of_its_host(world: World) -> None:
    """2 GiB are the router's: both models together do not fit."""
    world.memory_gib = 7
    settings: Settings = {"hosts": [A], "engine": {"memory_limit": "4GiB"}}
    for name in ("first", "second"):
        become(world, settings | {"models": [{"name": name, "path": TINY}]})


def test_models_go_with_the_ollama_that_makes_room(world: World) -> None:
    world.memory_gib = 7
    for name, settings in (("first", FIRST), ("second", SECOND)):
        become(world, settings)
        assert models(world) == {name}


def test_models_go_with_the_ollamas_that_make_room_for_one_replica_on_two_hosts(
    world: World,
) -> None:
    become(world, ON_CARDS)
    assert models(world, "a") == models(world, "b") == {"first"}
    before = world.keep()
    become(world, AS_ONE)
    assert models(world, "a") == models(world, "b") == set()
    # as a run leaves it that was killed when the replica ran on one of its hosts
    with world.change("a") as on_a, world.change("b") as on_b:
        on_a["containers"]["demo-vllm-qwen2.5-coder-7b-0"]["status"] = "created"
        old = json.loads((before / "b" / "state.json").read_text())["containers"]
        on_b["containers"]["demo-ollama-first-1.previous"] = old["demo-ollama-first-1"] | {
            "status": "exited"
        }
    volumes = world.directory / "b" / "volumes"
    shutil.copytree(before / "b" / "volumes", volumes, dirs_exist_ok=True)
    planned, _, _ = world.converged_twice()
    assert planned.output.count("remove model first:latest") == 1, planned.output
    assert models(world, "b") == set()
    assert_as_wanted(world)


def models(world: World, machine: str = "a") -> set[str]:
    """What is in the stores of all Ollamas of a host."""
    stored = (world.directory / machine / "volumes").rglob("library/*/*")
    return {path.parent.name for path in stored}


@pytest.mark.parametrize(
    ("before", "after", "every"),
    [
        pytest.param(TWO_MODELS, ANOTHER_MODEL, 3, id="models on a card, after each third"),
        *(
            pytest.param(before, after, 1, id=name, marks=pytest.mark.long)
            for name, before, after in (
                ("models on a card", TWO_MODELS, ANOTHER_MODEL),
                ("ports exchanged", ON_TWO_HOSTS, ON_TWO_HOSTS | EXCHANGED),
                ("one replica on two hosts", AS_ONE, ON_BY_A_HOST),
                ("models in little memory", FIRST, SECOND),
                ("models on two hosts", ON_CARDS, AS_ONE),
            )
        ),
    ],
)
def test_killed_after_any_change_the_next_run_mends_it(
    world: World, before: dict[str, Any], after: dict[str, Any], every: int
) -> None:
    if "memory_limit" in str(after):
        world.memory_gib = 7
    become(world, before)
    kept, count = world.keep(), 1
    world.declare(after)
    while world.kill(after=count):
        last = world.changes[-1]
        planned, done = world.dry_run(), world.deploy()
        assert (planned.status, done.status) == (0, 0), done.output
        assert done.announcements == planned.announcements, last
        assert_as_wanted(world)
        assert models(world) <= {"second"}, last
        world.go_back(kept)
        world.declare(after)
        count += every
    assert count > 4
    assert_as_wanted(world)


def test_what_fails_leaves_what_was_before_and_is_done_by_the_next_run(world: World) -> None:
    become(world, TWO_MODELS)
    before = world.running()
    world.declare(ANOTHER_MODEL)
    (world.directory / "sick").write_text('"name":"demo-vllm-qwen2.5-coder-1.5b-0"')
    failed = world.deploy()
    assert failed.status == 1
    assert world.running() == before
    (world.directory / "sick").unlink()
    become(world, ANOTHER_MODEL)
