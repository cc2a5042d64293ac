"""What is noticed about a service of a host, and about a unit that was a container before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.changes.change import Change, FieldChange
from deploy.changes.drift import unit_change
from deploy.changes.expected import Expected
from deploy.changes.live import Live, LiveContainer, LiveService, by_unit, held
from deploy.services import Holds

NAME = "demo-llama-cpp-0"
PUBLIC: dict[str, Any] = {
    "name": NAME,
    "version": "llama-server b1",
    "command": ["/opt/llama-server", "--port", "8000"],
    "secret_env": {"LLAMA_API_KEY": "hmac:1"},
}
FILES = {"unit file": "aa", "environment file": "bb"}
WANTED = Expected(
    "service",
    ("version", "llama-server b1"),
    PUBLIC,
    {"live unit file": ("", "aa"), "live environment file": ("secret_env", "bb")},
)
LIVE = LiveService(
    name=NAME,
    state="running",
    health="healthy",
    started_at=1000,
    deployment="demo",
    spec=PUBLIC,
    holds=Holds(ports=frozenset({8000})),
    service="llama-cpp",
    starts_with_host=True,
    files=FILES,
)
CONTAINER = LiveContainer(
    name=NAME,
    image_id="sha256:1",
    state="running",
    health="healthy",
    started_at=1000,
    restart="unless-stopped",
    memory_bytes=1,
    networks=("demo",),
    deployment="demo",
    spec={},
    holds=Holds(ports=frozenset({8000})),
)


def change(*there: Live, public: dict[str, Any] | None = None) -> Change | None:
    wanted = replace(WANTED, public=PUBLIC | (public or {}))
    return unit_change(NAME, wanted, there, config_is_newer=False)


def fields(found: Change | None) -> list[tuple[str, str, str]]:
    assert found is not None
    return [(field.field, field.old, field.new) for field in found.fields]


def test_nothing_happens_to_a_service_that_is_as_wanted() -> None:
    assert change(LIVE) is None
    assert change(replace(LIVE, health="starting")) is None


def test_a_missing_service_is_created() -> None:
    made = FieldChange("version", "(none)", "llama-server b1")
    assert change() == Change(f"service {NAME}", "create", (made,))


@pytest.mark.parametrize(
    ("live", "action", "rows"),
    [
        (replace(LIVE, state="exited"), "start", [("state", "exited", "running")]),
        (replace(LIVE, state="restarting"), "restart", [("health", "restarting", "healthy")]),
        (replace(LIVE, health="unhealthy"), "restart", [("health", "unhealthy", "healthy")]),
        (replace(LIVE, starts_with_host=False), "enable", [("start", "by hand", "with the host")]),
        (
            replace(LIVE, files=FILES | {"unit file": "x"}),
            "recreate",
            [("live unit file", "edited", "as written")],
        ),
        (
            replace(LIVE, files=FILES | {"environment file": "x"}),
            "recreate",
            [("live environment file", "edited", "as written")],
        ),
    ],
)
def test_what_is_not_as_wanted(
    live: LiveService, action: str, rows: list[tuple[str, str, str]]
) -> None:
    found = change(live)
    assert found is not None
    assert (found.resource, found.action) == (f"service {NAME}", action)
    assert fields(found) == rows


def test_a_changed_field_is_named_and_its_files_are_not() -> None:
    """They follow from it: one line for one change."""
    live = replace(LIVE, files={"unit file": "x", "environment file": "bb"})
    found = change(live, public={"command": ["/opt/llama-server", "--port", "8001"]})
    assert fields(found) == [("command", "--port 8000", "--port 8001")]
    live = replace(LIVE, files={"unit file": "x", "environment file": "y"})
    found = change(live, public={"secret_env": {"LLAMA_API_KEY": "hmac:2"}})
    assert fields(found) == [("secret_env.LLAMA_API_KEY", "hmac:1", "hmac:2")]


def test_a_unit_that_was_a_container() -> None:
    found = change(CONTAINER)
    assert found is not None
    assert (found.resource, found.action) == (f"service {NAME}", "recreate")
    assert fields(found) == [("runs as", "container", "service")]


def test_a_container_that_is_still_there_makes_the_service_start_again() -> None:
    assert fields(change(LIVE, CONTAINER)) == [("runs as", "container", "service")]


def test_a_container_that_was_set_aside_is_cleaned_up_when_the_service_works() -> None:
    left = replace(CONTAINER, name=f"{NAME}.previous", state="exited")
    found = change(LIVE, left)
    assert found is not None
    assert found.action == "clean up after an interrupted change of"
    unproven = change(replace(LIVE, health="starting"), left)
    assert unproven is not None
    assert unproven.action == "recreate"


def test_what_belongs_to_a_unit_in_whatever_it_runs() -> None:
    left = replace(CONTAINER, name=f"{NAME}.previous", holds=Holds(ports=frozenset({9000})))
    there = by_unit([LIVE, left])
    assert there == {NAME: (LIVE, left)}
    assert held(there[NAME]).ports == {8000, 9000}
