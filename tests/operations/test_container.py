"""The container operation: what it does in every state that it finds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click import unstyle
from pyinfra.api import OperationError
from pyinfra.api.command import FunctionCommand

from deploy.artefacts import Artefacts
from deploy.drift import LiveContainer
from deploy.facts.component import Component as ComponentFact
from deploy.facts.component import ComponentState, FileState
from deploy.facts.files import Contents
from deploy.facts.health import Health
from deploy.operations import container
from deploy.services import Component
from tests.conftest import MakeArtefacts
from tests.operations.harness import Outcome, run
from tests.recognisable import LEAK, SECRETS

NAME = "demo-litellm-0"
Announced = Callable[[], list[Any]]


def router(artefacts: Artefacts) -> Component:
    return next(c for c in artefacts.stack.components if c.container.name == NAME)


def live(artefacts: Artefacts, **differences: Any) -> LiveContainer:
    """The router's container, running as it is wanted but for the differences."""
    spec = router(artefacts).container
    as_wanted = LiveContainer(
        name=NAME,
        image_id="sha256:1",
        state="running",
        health="healthy",
        started_at=2000,
        restart="unless-stopped",
        memory_bytes=spec.memory_bytes,
        networks=("demo",),
        deployment="demo",
        spec=spec.public(artefacts.secrets.digest),
    )
    return replace(as_wanted, **differences)


def releases(artefacts: Artefacts) -> dict[str, dict[str, FileState]]:
    """The router's files as they are on a host that has them."""
    tree = router(artefacts).config
    assert tree is not None
    return {
        tree.release: {
            name: FileState(0o644, hashlib.sha256(file.content.encode()).hexdigest())
            for name, file in tree.files.items()
        }
    }


def converge(
    artefacts: Artefacts, *containers: LiveContainer, executing: bool = False, **state: Any
) -> Outcome:
    """Run the operation on a host that has these containers."""
    found: dict[str, Any] = {
        "containers": {found.name: found for found in containers},
        "image_id": "sha256:1",
        "releases": releases(artefacts),
        "release_changed_at": 1000,
    }
    return run(
        container.running,
        {ComponentFact: ComponentState(**found | state), Contents: {}, Health: ""},
        executing=executing,
        component=router(artefacts),
        deployment="demo",
        secrets=artefacts.secrets,
    )


def script(outcome: Outcome) -> list[str]:
    """The action and the arguments with which the script is called."""
    command = outcome.commands[-1]
    return [getattr(bit, "obj", bit) for bit in command.bits[4:]]  # type: ignore[attr-defined]


def test_nothing_is_done_to_a_container_that_is_as_wanted(
    demo: Artefacts, announced: Announced
) -> None:
    outcome = converge(demo, live(demo))
    assert outcome.commands == []
    assert outcome.host.noops == [f"container {NAME} runs as wanted"]
    assert announced() == []


def test_a_fresh_host_gets_files_and_container(demo: Artefacts, announced: Announced) -> None:
    outcome = converge(demo, image_id=None, releases={}, release_changed_at=0)
    write, replacement = outcome.shell
    assert "tar -xz" in write
    assert script(outcome)[:3] == ["replace", NAME, "180"]
    assert router(demo).container.image in replacement
    assert [(row["action"], row["resource"].split("/")[-1]) for row in announced()] == [
        ("create", "config.yaml"),
        ("create", f"container {NAME}"),
    ]


def test_secrets_are_on_standard_input_alone(demo: Artefacts, announced: Announced) -> None:
    outcome = converge(demo, releases={})
    assert LEAK not in outcome.shown
    assert LEAK not in str(announced())
    files, environment = outcome.stdin
    assert LEAK not in files
    assert environment.splitlines() == [
        f"ENGINE_API_KEY={SECRETS['engine_api_key']}",  # type: ignore[index]
        f"LITELLM_MASTER_KEY={SECRETS['router_master_key']}",  # type: ignore[index]
    ]


def test_a_changed_setting_recreates_and_says_which(
    make: MakeArtefacts, announced: Announced
) -> None:
    outcome = converge(make(router={"port": 4001}), live(make()))
    assert script(outcome)[:2] == ["replace", NAME]
    assert any("ports[0].host_port: " in line for line in outcome.host.said)
    [row] = announced()
    assert row == {
        "host": "h1",
        "stage": "prepare",
        "resource": f"container {NAME}",
        "action": "recreate",
        "fields": [{"field": "ports[0].host_port", "old": "4000", "new": "4001"}],
    }


def test_a_changed_secret_recreates_without_showing_it(
    demo: Artefacts, make: MakeArtefacts
) -> None:
    found = live(demo)
    assert found.spec is not None
    old = found.spec["secret_env"] | {"LITELLM_MASTER_KEY": "hmac:older"}
    outcome = converge(demo, replace(found, spec=found.spec | {"secret_env": old}))
    assert script(outcome)[0] == "replace"
    [line] = [line for line in outcome.host.said if "secret_env" in line]
    assert "hmac:older" in line
    assert LEAK not in outcome.shown


@pytest.mark.parametrize(
    ("differences", "action"),
    [
        ({"state": "exited", "health": None}, "start"),
        ({"state": "paused"}, "start"),
        ({"health": "unhealthy"}, "restart"),
        ({"state": "restarting"}, "restart"),
        ({"image_id": "sha256:2"}, "replace"),
        ({"memory_bytes": 1}, "replace"),
        ({"restart": "no"}, "replace"),
        ({"networks": ()}, "replace"),
        ({"spec": None}, "replace"),
        # started before its files were written
        ({"started_at": 500}, "restart"),
    ],
)
def test_every_other_state_is_mended(
    demo: Artefacts, differences: dict[str, Any], action: str
) -> None:
    outcome = converge(demo, live(demo, **differences))
    assert script(outcome)[:3] == [action, NAME, "180"]
    assert len(outcome.commands) == 1


def test_leftovers_are_cleaned_up(demo: Artefacts) -> None:
    outcome = converge(demo, live(demo), live(demo, name=f"{NAME}.previous"))
    assert script(outcome) == ["clean", NAME, "180"]


def test_damaged_files_are_restored_and_the_container_restarted(
    demo: Artefacts, announced: Announced
) -> None:
    [release] = releases(demo)
    damaged = {release: {"config.yaml": FileState(0o644, "f" * 64)}}
    outcome = converge(demo, live(demo), releases=damaged)
    assert "tar -xz" in outcome.shell[0]
    assert script(outcome)[0] == "restart"
    assert [row["action"] for row in announced()] == ["update", "restart"]


def test_changed_files_are_shown_line_by_line(make: MakeArtefacts, announced: Announced) -> None:
    before, after = make(), make(router={"num_retries": 7})
    tree = router(before).config
    assert tree is not None
    found = ComponentState(
        {NAME: live(before)}, "sha256:1", releases(before), release_changed_at=1000
    )
    old = {str(tree.directory / "config.yaml"): tree.files["config.yaml"].content}
    outcome = run(
        container.running,
        {ComponentFact: found, Contents: old},
        component=router(after),
        deployment="demo",
        secrets=after.secrets,
    )
    said = unstyle("\n".join(outcome.host.said))
    assert "-   num_retries: 2" in said
    assert "+   num_retries: 7" in said
    assert [row["action"] for row in announced()] == ["update", "recreate"]
    assert [field["field"] for field in announced()[1]["fields"]] == ["mounts./etc/litellm.source"]


@pytest.mark.parametrize(("owner", "whose"), [(None, "somebody else"), ("lab", "deployment 'lab'")])
def test_somebody_elses_container_is_left_alone(
    demo: Artefacts, owner: str | None, whose: str
) -> None:
    with pytest.raises(OperationError) as refused:
        converge(demo, live(demo, deployment=owner))
    assert str(refused.value) == (
        f"container {NAME} belongs to {whose}: remove or rename it, or rename the deployment"
    )


def test_while_executing_a_refusal_is_a_command_that_fails(demo: Artefacts) -> None:
    """An exception would be shown with a traceback there."""
    [command] = converge(demo, live(demo, deployment="lab"), executing=True).commands
    assert isinstance(command, FunctionCommand)


def test_a_container_that_is_starting_is_waited_for(demo: Artefacts) -> None:
    starting = live(demo, health="starting")
    assert converge(demo, starting, executing=True).commands == []
    found = ComponentState({NAME: starting}, "sha256:1", releases(demo), 1000)
    outcome = run(
        container.running,
        {ComponentFact: found, Health: f"it said {SECRETS['engine_api_key']}"},  # type: ignore[index]
        executing=True,
        component=router(demo),
        deployment="demo",
        secrets=demo.secrets,
    )
    [command] = outcome.commands
    assert isinstance(command, FunctionCommand)
    assert command.args == ("it said <engine_api_key>",)
