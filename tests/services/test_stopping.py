"""What of a deployment is stopped before what."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.services import Tier
from deploy.services.stopping import ORDER, in_turn
from tests.conftest import MakeArtefacts
from tests.operations.test_transitions import ON_CPUS, ON_GPUS, ON_MACS

EVERYTHING: dict[str, Any] = {
    "hosts": [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}],
    "web_ui": {},
    "valkey": {},
    "entry": {},
    "models": [{"name": "tiny-coder", "replicas": 2}],
}
APART = {Tier.LINK, Tier.LISTENER}
"""What listens is there until what it listens for is gone, whichever is in the earlier tier."""


@pytest.mark.parametrize(
    "settings",
    [
        EVERYTHING | {"postgres": {}},
        EVERYTHING | {"router": {"kind": "aristote"}, "postgres": {"web_ui": False}},
        ON_MACS["two"],
        ON_GPUS["SGLang"],
        ON_GPUS["wide"],
        ON_CPUS["native"],
        ON_CPUS["a shared Ollama"],
    ],
    ids=["LiteLLM", "Aristote", "Macs", "SGLang", "wide", "services", "Ollama"],
)
def test_what_is_asked_is_stopped_after_those_that_ask(
    settings: dict[str, Any], make: MakeArtefacts
) -> None:
    units = make(**{"web_ui": None} | settings).stack.units
    services = {unit.name: unit.runs.service for unit in units}
    assert set(services.values()) <= frozenset().union(*ORDER)
    turns = list(in_turn(services, services))
    assert sorted(name for turn in turns for name in turn) == sorted(services)
    position = {name: index for index, turn in enumerate(turns) for name in turn}
    ordered = [unit for unit in units if unit.tier not in APART]
    for one in ordered:
        for other in ordered:
            if one.tier.position > other.tier.position:
                assert position[one.name] <= position[other.name]
    listening = [n for n, service in services.items() if service == "listener"]
    for name, service in services.items():
        if service in {"haproxy", "link-client", "link-server"} and listening:
            assert position[name] < min(position[each] for each in listening)
        if service == "postgres":
            assert position[name] == max(position.values())


def test_what_is_not_known_goes_first() -> None:
    services = {"a": "postgres", "b": "", "c": "haproxy"}
    assert list(in_turn(("a", "b", "c", "d"), services)) == [("b", "c", "d"), ("a",)]
