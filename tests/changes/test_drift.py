"""What is noticed about a container that is not as wanted, and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.changes.change import Change, FieldChange
from deploy.changes.drift import drift, unit_change
from deploy.changes.expected import Expected
from deploy.changes.live import LiveContainer, base_name

NAME = "demo-litellm-0"
IMAGE_ID = "sha256:aaaa"
WANTED: dict[str, Any] = {
    "name": NAME,
    "image": "litellm:v1",
    "command": ["--config", "c.yaml", "--port", "4000", "--quiet"],
    "env": {"HOME": "/tmp", "MODE": "PRODUCTION"},
    "secret_env": {"LITELLM_MASTER_KEY": "hmac:1111"},
    "mounts": {"/etc/litellm": {"kind": "bind", "source": "/srv/config/1", "read_only": True}},
    "tmpfs": ["/tmp"],
    "ports": [{"host_ip": "127.0.0.1", "host_port": 4000, "container_port": 4000}],
    "network": "demo",
    "user": "",
    "read_only": True,
    "memory_bytes": 1024,
    "restart": "unless-stopped",
    "healthcheck": {"command": "curl x", "retries": 3},
}
LIVE = LiveContainer(
    name=NAME,
    image_id=IMAGE_ID,
    state="running",
    health="healthy",
    started_at=1000,
    restart="unless-stopped",
    memory_bytes=1024,
    networks=("demo",),
    deployment="demo",
    spec=WANTED,
)


def container(public: dict[str, Any], image_id: str | None = IMAGE_ID) -> Expected:
    """A container as it is wanted."""
    facts = {
        "live image id": ("image", image_id or "(to be fetched)"),
        "live memory_bytes": ("memory_bytes", str(public["memory_bytes"])),
        "live restart": ("restart", public["restart"]),
        "live networks": ("network", public["network"]),
    }
    return Expected("container", ("image", public["image"]), public, facts)


def change(
    live: LiveContainer | None = LIVE,
    *beside: str,
    wanted: dict[str, Any] | None = None,
    image_id: str | None = IMAGE_ID,
    config_is_newer: bool = False,
) -> Change | None:
    """What happens to a container, with others of these names beside it."""
    containers = {name: replace(LIVE, name=name) for name in beside}
    if live:
        containers[live.name] = live
    return unit_change(
        NAME,
        container(WANTED | (wanted or {}), image_id),
        containers.values(),
        config_is_newer=config_is_newer,
    )


def test_nothing_happens_to_a_container_that_is_as_wanted() -> None:
    assert change() is None


def test_a_container_that_is_starting_is_waited_for_not_changed() -> None:
    assert change(replace(LIVE, health="starting")) is None


def test_a_missing_container_is_created() -> None:
    assert change(None) == Change(
        f"container {NAME}", "create", (FieldChange("image", "(none)", "litellm:v1"),)
    )


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ({"image": "litellm:v2"}, [("image", "litellm:v1", "litellm:v2")]),
        ({"user": "65534"}, [("user", "(empty)", "65534")]),
        ({"read_only": False}, [("read_only", "True", "False")]),
        ({"env": {"HOME": "/tmp", "MODE": "DEV"}}, [("env.MODE", "PRODUCTION", "DEV")]),
        ({"env": {"HOME": "/tmp"}}, [("env.MODE", "PRODUCTION", "(none)")]),
        ({"env": WANTED["env"] | {"NEW": "1"}}, [("env.NEW", "(none)", "1")]),
        (
            {"secret_env": {"LITELLM_MASTER_KEY": "hmac:2222"}},
            [("secret_env.LITELLM_MASTER_KEY", "hmac:1111", "hmac:2222")],
        ),
        (
            {"healthcheck": {"command": "curl x", "retries": 5}},
            [("healthcheck.retries", "3", "5")],
        ),
        (
            {
                "mounts": {
                    "/etc/litellm": {"kind": "bind", "source": "/srv/config/2", "read_only": True}
                }
            },
            [("mounts./etc/litellm.source", "/srv/config/1", "/srv/config/2")],
        ),
        (
            {"ports": [{"host_ip": "127.0.0.1", "host_port": 4001, "container_port": 4000}]},
            [("ports[0].host_port", "4000", "4001")],
        ),
        (
            {"ports": []},
            [
                ("ports[0].container_port", "4000", "(none)"),
                ("ports[0].host_ip", "127.0.0.1", "(none)"),
                ("ports[0].host_port", "4000", "(none)"),
            ],
        ),
        ({"tmpfs": []}, [("tmpfs", "/tmp", "(none)")]),
        # sequences: only what differs, with the flag it belongs to
        (
            {"command": ["--config", "c.yaml", "--port", "4001", "--quiet"]},
            [("command", "--port 4000", "--port 4001")],
        ),
        (
            {"command": ["--config", "c.yaml", "--port", "4000"]},
            [("command", "--quiet", "(none)")],
        ),
        (
            {"command": [*WANTED["command"], "--alias", "two words"]},
            [("command", "(none)", "--alias 'two words'")],
        ),
        (
            {"command": ["--config", "d.yaml", "--port", "1", "--quiet"]},
            [
                ("command", "--config c.yaml", "--config d.yaml"),
                ("command", "--port 4000", "--port 1"),
            ],
        ),
    ],
)
def test_a_changed_wish_recreates(wanted: dict[str, Any], fields: list[tuple[str, ...]]) -> None:
    found = change(wanted=wanted)
    assert found is not None
    assert found.action == "recreate"
    assert [(field.field, field.old, field.new) for field in found.fields] == fields


@pytest.mark.parametrize(
    ("live", "image_id", "field"),
    [
        # docker update --memory, --restart
        ({"memory_bytes": 2048}, IMAGE_ID, ("live memory_bytes", "2048", "1024")),
        ({"restart": "no"}, IMAGE_ID, ("live restart", "no", "unless-stopped")),
        # the tag was built or pulled again
        ({}, "sha256:bbbb", ("live image id", IMAGE_ID, "sha256:bbbb")),
        ({}, None, ("live image id", IMAGE_ID, "(to be fetched)")),
        # docker network connect, disconnect
        ({"networks": ("demo", "other")}, IMAGE_ID, ("live networks", "demo, other", "demo")),
        ({"networks": ()}, IMAGE_ID, ("live networks", "(none)", "demo")),
    ],
)
def test_what_was_changed_behind_the_label_recreates(
    live: dict[str, Any], image_id: str | None, field: tuple[str, str, str]
) -> None:
    assert change(replace(LIVE, **live), image_id=image_id) == Change(
        f"container {NAME}", "recreate", (FieldChange(*field),)
    )


def test_a_container_without_a_readable_label_is_recreated() -> None:
    found = change(replace(LIVE, spec=None))
    assert found is not None
    assert found.action == "recreate"


@pytest.mark.parametrize("state", ["exited", "created", "dead", "paused"])
def test_a_stopped_container_is_started(state: str) -> None:
    assert change(replace(LIVE, state=state, health=None)) == Change(
        f"container {NAME}", "start", (FieldChange("state", state, "running"),)
    )


@pytest.mark.parametrize(
    ("state", "health", "found"),
    [("running", "unhealthy", "unhealthy"), ("restarting", "starting", "restarting")],
)
def test_a_sick_container_is_restarted(state: str, health: str, found: str) -> None:
    assert change(replace(LIVE, state=state, health=health)) == Change(
        f"container {NAME}", "restart", (FieldChange("health", found, "healthy"),)
    )


def test_why_it_is_sick_is_said() -> None:
    found = change(replace(LIVE, health="unhealthy", health_said="no GPU"))
    assert found is not None
    assert found.fields == (FieldChange("health", "unhealthy: no GPU", "healthy"),)


def test_a_container_older_than_its_restored_files_is_restarted() -> None:
    found = change(config_is_newer=True)
    assert found is not None
    assert (found.action, found.fields[0].field) == ("restart", "configuration")


def test_drift_comes_before_everything_else() -> None:
    found = change(replace(LIVE, state="exited"), wanted={"user": "1"}, config_is_newer=True)
    assert found is not None
    assert found.action == "recreate"


@pytest.mark.parametrize("leftover", [f"{NAME}.next", f"{NAME}.previous"])
def test_leftovers_beside_a_healthy_container_are_removed(leftover: str) -> None:
    assert change(LIVE, leftover) == Change(
        f"container {NAME}", "clean up after an interrupted change of"
    )


@pytest.mark.parametrize(
    ("state", "health"),
    [("running", "starting"), ("running", "unhealthy"), ("created", None), ("exited", None)],
)
def test_an_unproven_container_does_not_cost_the_one_before(state: str, health: str | None) -> None:
    """Only a replacement goes back to the previous one if the new one fails."""
    found = change(replace(LIVE, state=state, health=health), f"{NAME}.previous")
    assert found is not None
    assert found.action == "recreate"


def test_one_that_only_finishes_what_it_has_begun_is_left_alone() -> None:
    ending = replace(LIVE, name=f"{NAME}.ending-0123456789ab", restart="no", health="unhealthy")
    assert base_name(ending.name) == NAME
    wanted = container(WANTED)

    def found(*there: LiveContainer) -> str | None:
        made = unit_change(NAME, wanted, there, config_is_newer=False)
        return made.action if made else None

    assert found(LIVE, ending, ending) is None
    ended = replace(ending, state="exited")
    assert found(LIVE, ended) == "clean up after an interrupted change of"
    assert found(LIVE, replace(ended, ended_seconds_ago=600.0)) is not None
    # what waits for its end is about to remove it
    assert found(LIVE, replace(ended, ended_seconds_ago=1.0)) is None
    # it is nothing to go back to
    assert found(ending) == "create"


def test_an_image_that_stays_is_not_compared() -> None:
    wanted = container(WANTED, "sha256:bbbb")
    del wanted.facts["live image id"]
    assert unit_change(NAME, wanted, [LIVE], config_is_newer=False) is None


def test_a_run_killed_between_the_renames_creates() -> None:
    found = change(None, f"{NAME}.previous", f"{NAME}.next")
    assert found is not None
    assert found.action == "create"


texts = st.text(max_size=5)
descriptions = st.fixed_dictionaries(
    {
        "image": texts,
        "command": st.lists(texts, max_size=4),
        "env": st.dictionaries(texts.filter(lambda name: "." not in name), texts, max_size=3),
        "ports": st.lists(
            st.fixed_dictionaries({"host_ip": texts, "host_port": st.integers()}), max_size=2
        ),
        "healthcheck": st.fixed_dictionaries({"command": texts, "retries": st.integers()}),
        "read_only": st.booleans(),
    }
)
FIXED = {"memory_bytes": 1024, "restart": "unless-stopped", "network": "demo"}


@given(descriptions)
def test_equal_descriptions_never_drift(description: dict[str, Any]) -> None:
    live = replace(LIVE, spec=description | FIXED)
    assert drift(live, container(description | FIXED)) == []


@given(descriptions, descriptions)
def test_different_descriptions_always_drift(old: dict[str, Any], new: dict[str, Any]) -> None:
    changed = {name for name in old if old[name] != new[name]}
    found = drift(replace(LIVE, spec=old | FIXED), container(new | FIXED))
    assert {field.field.split(".")[0].split("[")[0] for field in found} == changed
    assert all(field.old != field.new for field in found)
