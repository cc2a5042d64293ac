"""The container operation: what it does in every state that it finds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click import unstyle
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.command import FunctionCommand

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.changes.live import LiveContainer
from deploy.facts.files import Contents
from deploy.facts.health import Health
from deploy.facts.units import FileState, Units
from deploy.operations import units
from deploy.operations.drained import DrainedCommand
from deploy.operations.script import ScriptCommand
from deploy.operations.together import TogetherCommand
from deploy.render import TEMPLATES
from deploy.services import ConfigTree, Holds, Tier, Unit
from tests.conftest import MakeArtefacts
from tests.operations.found import found, releases, stranger, unit_named
from tests.operations.found import live as any_live
from tests.operations.harness import FakeHost, Outcome, run, words
from tests.recognisable import LEAK, SECRETS

NAME = "demo-litellm-0"
TINY = str(load_catalog().models["tiny-coder"].path)
Announced = Callable[[], list[Any]]


def router(artefacts: Artefacts) -> Unit:
    return unit_named(artefacts, NAME)


def live(artefacts: Artefacts, **differences: Any) -> LiveContainer:
    """The router's container, running as it is wanted but for the differences."""
    return any_live(artefacts, NAME, **differences)


def tree_of(artefacts: Artefacts) -> ConfigTree:
    tree = router(artefacts).config
    assert tree is not None
    return tree


def converge(
    artefacts: Artefacts,
    *containers: LiveContainer,
    executing: bool = False,
    tier: Tier = Tier.ROUTER,
    facts: dict[Any, Any] | None = None,
    **state: Any,
) -> Outcome:
    """Run the operation on a host that has these containers, and the other tiers as wanted."""
    others = [any_live(artefacts, unit.name) for unit in artefacts.stack.units if unit.tier != tier]
    answers: dict[Any, Any] = {Contents: {}, Health: ""}
    answers[Units] = found(artefacts, [*others, *containers], **state)
    return run(
        units.converged,
        FakeHost(answers | (facts or {}), name="@local"),
        executing=executing,
        artefacts=artefacts,
        tier=tier,
    )


def script(outcome: Outcome) -> list[str]:
    """The same of the last command."""
    return words(outcome.commands[-1])


def test_nothing_is_done_to_a_container_that_is_as_wanted(
    demo: Artefacts, announced: Announced
) -> None:
    outcome = converge(demo, live(demo))
    assert outcome.commands == []
    assert outcome.host.noops == ["the routers run as wanted"]
    assert announced() == []


def test_a_fresh_host_gets_files_and_container(demo: Artefacts, announced: Announced) -> None:
    outcome = converge(demo, images={}, releases={}, changed_at={})
    write, replacement = outcome.shell
    assert "tar -xz" in write
    assert script(outcome)[:3] == ["replace", NAME, "180"]
    assert router(demo).container.image in replacement
    assert [(row["action"], row["resource"].split("/")[-1]) for row in announced()] == [
        ("create", "atelier.json"),
        *(("create", path.name) for path in sorted((TEMPLATES / "litellm").glob("atelier_*.py"))),
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
        "host": "@local",
        "stage": "prepare",
        "resource": f"container {NAME}",
        "action": "recreate",
        "fields": [{"field": "ports[0].host_port", "old": "4000", "new": "4001"}],
    }


def test_a_changed_secret_recreates_without_showing_it(
    demo: Artefacts, make: MakeArtefacts
) -> None:
    there = live(demo)
    assert there.spec is not None
    old = there.spec["secret_env"] | {"LITELLM_MASTER_KEY": "hmac:older"}
    outcome = converge(demo, replace(there, spec=there.spec | {"secret_env": old}))
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
    outcome = converge(demo, live(demo), replace(live(demo), name=f"{NAME}.previous"))
    assert script(outcome) == ["clean", NAME, "180"]


def test_damaged_files_are_restored_and_the_container_restarted(
    demo: Artefacts, announced: Announced
) -> None:
    directory, files = str(tree_of(demo).directory), releases(demo)
    damaged = {directory: files[directory] | {"config.yaml": FileState(0o644, "f" * 64)}}
    outcome = converge(demo, live(demo), releases=damaged)
    assert "tar -xz" in outcome.shell[0]
    assert script(outcome)[0] == "restart"
    assert [row["action"] for row in announced()] == ["update", "restart"]


def test_changed_files_are_shown_line_by_line(make: MakeArtefacts, announced: Announced) -> None:
    before, after = make(), make(router={"num_retries": 7})
    tree = tree_of(before)
    old = {str(tree.directory / "config.yaml"): str(tree.files["config.yaml"].content)}
    outcome = converge(
        after,
        live(before),
        facts={Contents: old},
        releases=releases(before),
        changed_at={str(tree.directory): 1000.0},
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
    said = {Health: f"it said {SECRETS['engine_api_key']}"}  # type: ignore[index]
    outcome = converge(demo, starting, executing=True, facts=said)
    [command] = outcome.commands
    assert isinstance(command, FunctionCommand)
    assert command.args == ("it said <engine_api_key>",)


def test_an_orphan_whose_port_is_wanted_makes_room_and_comes_back_if_that_fails(
    demo: Artefacts, announced: Announced
) -> None:
    blocking = stranger(demo, "demo-old-0", holds=Holds(ports=frozenset({4000})))
    prepared, swapped = converge(demo, blocking).commands
    assert words(prepared)[:3] == ["prepare", NAME, "180"]
    assert words(swapped) == ["swap", f"demo-old-0,{NAME}", "0", NAME, "180"]
    assert [(row["action"], row["resource"]) for row in announced()] == [
        ("remove", "container demo-old-0"),
        ("create", f"container {NAME}"),
    ]


def test_an_orphan_that_blocks_nobody_is_left_for_the_end(demo: Artefacts) -> None:
    elsewhere = stranger(demo, "demo-old-0", holds=Holds(ports=frozenset({4001})))
    [command] = converge(demo, elsewhere).commands
    assert words(command)[0] == "replace"


def test_services_that_exchange_ports_change_together_with_the_later_tier(
    make: MakeArtefacts,
) -> None:
    before = make()
    after = make(router={"port": 3000}, web_ui={"port": 4000})
    there = [any_live(before, unit.name) for unit in before.stack.units]
    state = {"releases": releases(after), "changed_at": {}}
    facts: dict[Any, Any] = {Units: found(after, there, **state), Contents: {}, Health: ""}
    arguments: dict[str, Any] = {"artefacts": after}
    host = FakeHost(facts, name="@local")
    assert run(units.converged, host, tier=Tier.ROUTER, **arguments).commands == []
    *prepared, swapped = run(units.converged, host, tier=Tier.WEB_UI, **arguments).commands
    web_ui = "demo-open-webui-0"
    assert [words(command)[:2] for command in prepared] == [
        ["prepare", NAME],
        ["prepare", web_ui],
    ]
    assert words(swapped) == ["swap", f"{NAME},{web_ui}", "0", NAME, "180", web_ui, "180"]


def test_engines_that_share_nothing_start_together(make: MakeArtefacts) -> None:
    artefacts = make(
        models=[{"name": "tiny-coder"}, {"name": "two", "path": TINY, "roles": ["chat"]}]
    )
    [command] = converge(artefacts, tier=Tier.ENGINE).commands
    assert isinstance(command, TogetherCommand)
    assert [[words(step)[0] for step in lane] for lane in command.lanes] == [
        ["replace"],
        ["replace"],
    ]


def test_replicas_of_a_model_change_one_after_the_other(make: MakeArtefacts) -> None:
    """On one host, so that one of them always serves."""
    models = [{"name": "tiny-coder", "replicas": 2}]
    before, after = make(models=models), make(models=models, engine={"threads": 1})
    there = [any_live(before, u.name) for u in before.stack.units if u.tier == Tier.ENGINE]
    commands = converge(after, *there, tier=Tier.ENGINE).commands
    assert [words(command)[:2] for command in commands] == [
        ["replace", "demo-llama-cpp-tiny-coder-0"],
        ["replace", "demo-llama-cpp-tiny-coder-1"],
    ]


def test_files_that_replicas_share_are_announced_and_written_once(
    make: MakeArtefacts, announced: Announced
) -> None:
    settings: dict[str, Any] = {"router": {"replicas": 2}, "postgres": {}, "entry": {}}
    before = make(**settings)
    after = make(**settings | {"router": {"replicas": 2, "num_retries": 5}})
    there = [any_live(before, unit.name) for unit in before.stack.units if unit.tier == Tier.ROUTER]
    outcome = converge(after, *there, releases=releases(before))
    assert [(row["action"], row["resource"].split("/")[-1]) for row in announced()] == [
        ("update", "config.yaml"),
        ("recreate", "container demo-litellm-0"),
        ("recreate", "container demo-litellm-1"),
    ]
    assert ["tar -xz" in command for command in outcome.shell].count(True) == 1


def of_containers(outcome: Outcome) -> list[StringCommand]:
    """Without those that write files."""
    return [command for command in outcome.commands if isinstance(command, ScriptCommand)]


def test_the_entry_is_relieved_by_one_beside_it(make: MakeArtefacts) -> None:
    before, after = make(entry={}), make(entry={"memory_limit": "1GiB"})
    name = "demo-haproxy-0"
    there = any_live(before, name)

    def commands(wanted: Artefacts, *beside: LiveContainer) -> list[list[str]]:
        made = converge(wanted, there, *beside, tier=Tier.ENTRY)
        return [words(command)[:3] for command in of_containers(made)]

    assert commands(after) == [["relieve", name, "60"]]
    assert commands(before, replace(there, name=f"{name}.previous")) == [["settle", name, "60"]]
    assert commands(before, replace(there, name=f"{name}.ending-0123456789ab")) == []


def test_the_end_of_a_link_is_relieved_and_what_listens_for_it_is_drained(
    make: MakeArtefacts,
) -> None:
    hosts = [{"name": "@local", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]

    def declared(**links: object) -> Artefacts:
        return make(hosts=hosts, router={"host": "b"}, links=links)

    haproxy, listener = "demo-link-server-local-0", "demo-listener-server-local-0"
    before = declared()

    def commands(wanted: Artefacts) -> list[Any]:
        both = any_live(before, haproxy), any_live(before, listener)
        made = converge(wanted, *both, tier=Tier.LINK).commands
        return [each for each in made if isinstance(each, ScriptCommand | DrainedCommand)]

    assert commands(before) == []
    [command] = commands(declared(memory_limit="1GiB"))
    assert words(command)[:2] == ["relieve", haproxy]
    [command] = commands(declared(port=9443))
    assert isinstance(command, DrainedCommand)
    assert [unit.name for unit, _ in command.routed] == [listener]


def test_an_entry_with_ports_of_its_own_makes_room_for_its_listener(make: MakeArtefacts) -> None:
    """As releases before this one made it: once, both change together."""
    made = make(entry={})
    listener, name = "demo-listener-0", "demo-haproxy-0"
    old = replace(any_live(made, name), spec={}, holds=unit_named(made, listener).holds)
    state = found(made, [old])

    def commands(tier: Tier) -> list[StringCommand]:
        host = FakeHost({Units: state, Contents: {}, Health: ""}, name="@local")
        return of_containers(run(units.converged, host, artefacts=made, tier=tier))

    entry = commands(Tier.ENTRY)
    assert [words(each)[:2] for each in entry] == [
        ["prepare", listener],
        ["prepare", name],
        ["swap", f"{listener},{name}"],
    ]
    assert words(entry[-1])[2:] == ["0", listener, "60", name, "60"]
    assert commands(Tier.LISTENER) == []


def test_what_serves_is_drained_before_it_is_replaced(make: MakeArtefacts) -> None:
    there = any_live(make(), "demo-llama-cpp-tiny-coder-0")
    changed = make(engine={"memory_limit": "3GiB"})
    [command] = converge(changed, there, tier=Tier.ENGINE).commands
    assert isinstance(command, DrainedCommand)
    assert [unit.name for unit, _ in command.routed] == [there.name]
    [command] = converge(changed, tier=Tier.ENGINE).commands
    assert not isinstance(command, DrainedCommand)


@pytest.mark.parametrize(("works_after", "status"), [(0, 0), (2, 0), (99, 1)])
def test_files_that_are_read_are_waited_for_while_who_reads_them_starts_again(
    tmp_path: Path, works_after: int, status: int
) -> None:
    """An entry does when its listener was replaced, by another port that is in its files, too."""
    docker = (
        f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n'
        f'[ "$(wc -l <{tmp_path}/asked)" -gt {works_after} ]\n'
    )
    clock = f"#!/bin/sh\necho >>{tmp_path}/clock\necho $(($(wc -l <{tmp_path}/clock) * 5))\n"
    scripts = {"docker": docker, "date": clock, "sleep": "#!/bin/sh\n"}
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", units.ASK_INSIDE, "-", "demo-haproxy-0", "sh", "-c", "read it"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        timeout=60,
    )
    assert done.returncode == status
    asked = (tmp_path / "asked").read_text().splitlines()
    assert set(asked) == {"exec demo-haproxy-0 sh -c read it"}
    assert len(asked) == min(works_after + 1, 6)
