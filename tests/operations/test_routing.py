"""What routers and the entry are told: keys of engines, and whom requests come to again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.facts.routing import Routing, RoutingState
from deploy.operations import routing
from tests.conftest import MakeArtefacts
from tests.operations.found import unit_named
from tests.operations.harness import FakeHost, Outcome, run
from tests.recognisable import LEAK, SECRETS

KEY = SECRETS["engine_api_key"]  # type: ignore[index]
NEW, OLD = hashlib.sha256(KEY.encode()).hexdigest(), "0" * 64
FILE = "/var/lib/atelier/deployments/demo/live/litellm/engine_keys"
ENGINE = "demo-llama-cpp-tiny-coder-0"
Announced = Callable[[], list[Any]]


def told(
    operation: Any, artefacts: Artefacts, *keys: str, draining: tuple[str, ...] = ()
) -> Outcome:
    state = RoutingState(keys, draining)
    return run(operation, FakeHost({Routing: state}, name="@local"), artefacts=artefacts)


def arguments(outcome: Outcome) -> list[list[str]]:
    return [[str(getattr(bit, "obj", bit)) for bit in c.bits[4:]] for c in outcome.commands]  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", [(), (OLD,), (OLD, NEW), (OLD, OLD)])
def test_routers_know_a_key_before_engines_have_it(
    demo: Artefacts, announced: Announced, keys: tuple[str, ...]
) -> None:
    outcome = told(routing.prepared, demo, *keys)
    assert arguments(outcome) == [["first", FILE]]
    assert outcome.stdin == [f"{KEY}\n"]
    assert LEAK not in outcome.shown
    [row] = announced()
    assert (row["action"], row["resource"]) == ("update" if keys else "create", f"file {FILE}")


@pytest.mark.parametrize("keys", [(NEW,), (NEW, OLD)])
def test_a_key_that_routers_know_is_not_written_again(
    demo: Artefacts, announced: Announced, keys: tuple[str, ...]
) -> None:
    assert told(routing.prepared, demo, *keys).commands == []
    assert announced() == []


@pytest.mark.parametrize("keys", [(OLD,), (NEW, OLD), (NEW, OLD, OLD)])
def test_the_key_of_before_is_forgotten(
    demo: Artefacts, announced: Announced, keys: tuple[str, ...]
) -> None:
    """Also announced by a dry run, in which engines have the old one still."""
    outcome = told(routing.settled, demo, *keys)
    assert arguments(outcome) == [["only", FILE]]
    assert outcome.stdin == [f"{KEY}\n"]
    [row] = announced()
    assert [field["new"] for field in row["fields"]] == ["the new one"]


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_nothing_is_forgotten_where_there_was_no_other(
    demo: Artefacts, keys: tuple[str, ...]
) -> None:
    assert told(routing.settled, demo, *keys).commands == []


def test_requests_come_again_to_what_a_killed_run_left(
    demo: Artefacts, announced: Announced
) -> None:
    route = unit_named(demo, ENGINE).route
    assert route is not None
    path = str(route.directory / ENGINE)
    outcome = told(routing.prepared, demo, NEW, draining=(path, "/elsewhere/draining/other"))
    assert arguments(outcome) == [["back", path, "-"]]
    assert [(row["action"], row["resource"]) for row in announced()] == [
        ("no longer keep away", f"requests to {ENGINE}")
    ]


def test_the_entry_is_told_of_several_routers(make: MakeArtefacts, announced: Announced) -> None:
    artefacts = make(router={"replicas": 2}, entry={})
    unit = unit_named(artefacts, "demo-litellm-1")
    route = unit.route
    assert route is not None
    assert route.entry == "demo-haproxy-0"
    assert route.names == ("router/demo-litellm-1", "completions/demo-litellm-1")
    path = str(route.directory / unit.name)
    outcome = told(routing.prepared, artefacts, NEW, draining=(path,))
    assert arguments(outcome) == [["back", path, "demo-haproxy-0"]]


def test_the_answer_is_read() -> None:
    said = ["@keys", f"{NEW}  -", f"{OLD}  -", "@draining", "/b", "/a"]
    assert Routing().process(said) == RoutingState((NEW, OLD), ("/a", "/b"))
    assert Routing().process(["@keys", "@draining"]) == RoutingState()
