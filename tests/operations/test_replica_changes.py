"""What happens to a replica on two hosts, decided from what was seen on all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.changes.live import LiveContainer
from deploy.facts.files import Contents
from deploy.facts.units import Units
from deploy.operations import units
from deploy.operations.replica_changes import Part, ReplicaChanges, decide_for
from deploy.services import Holds, Tier
from tests.conftest import MakeArtefacts
from tests.operations.found import found, stranger
from tests.operations.found import live as any_live
from tests.operations.harness import FakeHost, run, words

FIRST, SECOND, THIRD, FOURTH = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"
MODEL = "qwen2.5-coder-0.5b"
ASKED = f"demo-vllm-{MODEL}-0"
NODE = f"{ASKED}-node-1"
Containers = Iterable[LiveContainer]


@pytest.fixture
def wide(make: MakeArtefacts) -> Artefacts:
    return make(
        hosts=[
            {"name": FIRST, "gpus": "1x l40s"},
            {"name": SECOND, "gpus": "1x l40s"},
            {"name": THIRD},
        ],
        models=[{"name": MODEL}],
        engine={"kind": "vllm", "nnodes": 2, "trusted_network": True, "offline": True},
        router={"host": THIRD},
        web_ui=None,
    )


def live(wide: Artefacts, name: str, **differences: Any) -> LiveContainer:
    """One that runs as wanted, in its host's network."""
    wanted = name.removesuffix(".previous").removesuffix(".next")
    return replace(any_live(wide, wanted, networks=("host",), **differences), name=name)


def decide(wide: Artefacts, first: Containers, second: Containers) -> ReplicaChanges:
    seen = {FIRST: found(wide, first), SECOND: found(wide, second)}
    return decide_for(wide, seen | {THIRD: found(wide, [any_live(wide, "demo-litellm-0")])})


def told(changes: ReplicaChanges) -> dict[str, tuple[bool, bool]]:
    """Of each unit, whether nothing was there of before, and whether something can come back."""
    parts: list[Part] = [part for parts in changes.replicas.values() for part in parts]
    return {part.unit.name: (part.unit.name in part.new, part.has_former) for part in parts}


NEW, ANEW, AGAIN = (True, False), (False, True), (False, False)


def test_one_that_runs_as_wanted_is_left_alone(wide: Artefacts) -> None:
    assert decide(wide, [live(wide, ASKED)], [live(wide, NODE)]) == ReplicaChanges()


def test_a_first_deployment(wide: Artefacts) -> None:
    changes = decide(wide, [], [])
    assert told(changes) == {ASKED: NEW, NODE: NEW}
    assert changes.restarting == frozenset()


def test_the_one_that_is_asked_comes_first(wide: Artefacts) -> None:
    [parts] = decide(wide, [], []).replicas.values()
    assert [(part.unit.name, part.unit.host) for part in parts] == [(ASKED, FIRST), (NODE, SECOND)]


def test_one_that_is_gone_takes_the_other_with_it(wide: Artefacts) -> None:
    changes = decide(wide, [live(wide, ASKED)], [])
    assert changes.restarting == {ASKED}
    assert told(changes) == {ASKED: AGAIN, NODE: NEW}


def test_one_that_differs_can_come_back(wide: Artefacts) -> None:
    other = replace(live(wide, ASKED), image_id="sha256:other")
    changes = decide(wide, [other], [live(wide, NODE)])
    assert changes.restarting == {NODE}
    assert told(changes) == {ASKED: ANEW, NODE: AGAIN}


def test_what_a_killed_run_set_aside_can_come_back(wide: Artefacts) -> None:
    """The second host has its new one already, the first one none; the old ones are there."""
    old = {"state": "exited", "health": None}
    changes = decide(
        wide,
        [live(wide, f"{ASKED}.previous", **old)],
        [live(wide, NODE), live(wide, f"{NODE}.previous", **old)],
    )
    assert told(changes) == {ASKED: ANEW, NODE: AGAIN}
    assert changes.restarting == {NODE}


def test_what_a_killed_run_only_made_ready_never_ran(wide: Artefacts) -> None:
    ready = live(wide, f"{NODE}.next", state="created", health=None)
    changes = decide(wide, [], [ready])
    assert told(changes) == {ASKED: NEW, NODE: NEW}


def test_what_has_a_hosts_gpu_goes_with_the_change(wide: Artefacts) -> None:
    orphan = stranger(wide, "demo-vllm-old-0", holds=Holds(gpus={0: 0.9}))
    changes = decide(wide, [], [orphan])
    part = changes.part(NODE, SECOND)
    assert part is not None
    assert set(part.names) == {NODE, "demo-vllm-old-0"}
    assert part.gone == {"demo-vllm-old-0"}
    assert part.runs == (NODE,)
    assert part.new == {NODE}


def test_a_replica_that_moves_on_by_a_host_changes_as_one(make: MakeArtefacts) -> None:
    """What was its node on the second host is the one that is asked now; the next one has the node.

    An old unit on one host is called as the new one on another.
    """
    before, after = (
        make(
            hosts=[*({"name": name, "gpus": "1x l40s"} for name in names), {"name": THIRD}],
            models=[{"name": MODEL}],
            engine={"kind": "vllm", "nnodes": 2, "trusted_network": True, "offline": True},
            router={"host": THIRD},
            web_ui=None,
        )
        for names in ((FIRST, SECOND), (SECOND, FOURTH))
    )
    router = found(after, [any_live(after, "demo-litellm-0")])
    seen = {THIRD: router, SECOND: found(after, [live(before, NODE)]), FOURTH: found(after, [])}
    changes = decide_for(after, seen)
    [parts] = changes.replicas.values()
    assert [(part.unit.name, part.unit.host, set(part.names)) for part in parts] == [
        (ASKED, SECOND, {ASKED, NODE}),
        (NODE, FOURTH, {NODE}),
    ]

    def commands(name: str, tier: Tier) -> list[str]:
        host = FakeHost({Units: seen[name], Contents: {}}, name=name)
        arguments: dict[str, Any] = {"artefacts": after, "tier": tier, "replicas": changes}
        return [words(each)[0] for each in run(units.converged, host, **arguments).commands]

    assert commands(SECOND, Tier.NODE) == []
    assert commands(FOURTH, Tier.NODE) == ["prepare"]
    assert commands(SECOND, Tier.ENGINE) == ["prepare", "halt"]
    assert commands(FOURTH, Tier.ENGINE) == []


def test_a_run_that_does_not_go_to_all_hosts_changes_no_replica_as_one(wide: Artefacts) -> None:
    changes = decide_for(wide, {SECOND: found(wide, [])})
    assert changes.replicas == {}
    assert changes.part(NODE, SECOND) is None
