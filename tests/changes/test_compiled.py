"""Whose compiled code a new replica on another host is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.changes.compiled import (
    LARGEST_BYTES,
    Machine,
    Offer,
    chosen,
    new_caches,
    offering,
)
from deploy.services import Tier, Unit
from tests.conftest import MakeArtefacts
from tests.operations.found import live

EPYC = Machine("x86_64", frozenset({"avx2", "avx512f"}))
XEON = Machine("x86_64", frozenset({"avx2", "avx512f", "amx_tile"}))


@pytest.fixture
def pair(make: MakeArtefacts) -> Artefacts:
    """A model with a replica on each of two hosts."""
    gpus = [{"name": f"gpu-{i}", "address": f"10.0.0.{i}", "gpus": "1x l40s"} for i in (1, 2)]
    return make(
        profile="20-users",
        hosts=gpus,
        router={"host": "gpu-1"},
        engine={"kind": "vllm"},
        models=[{"name": "qwen2.5-coder-7b", "replicas": 2}],
        web_ui=None,
    )


def engines(artefacts: Artefacts) -> list[Unit]:
    return [unit for unit in artefacts.stack.units if unit.tier == Tier.ENGINE]


def offer(unit: Unit, **differences: Any) -> Offer:
    container = unit.container
    as_usual = Offer(unit.host, unit, container.image, container.command, EPYC, 300_000_000)
    return replace(as_usual, **differences)


def test_one_that_serves_gives_to_one_that_is_new(pair: Artefacts) -> None:
    first, second = engines(pair)
    serving = {first.name: live(pair, first.name)}
    assert offering([first], serving) == (first,)
    assert list(new_caches([first], serving)) == []
    assert list(new_caches([second], {})) == [second]
    assert chosen(second, XEON, [offer(first)]) == offer(first)


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param({"image": "vllm/vllm-openai:v0.1"}, id="image"),
        pytest.param({"command": ("another",)}, id="arguments"),
        pytest.param({"machine": XEON}, id="features"),
        pytest.param({"machine": Machine("aarch64", EPYC.features)}, id="architecture"),
        pytest.param({"machine": Machine("", frozenset())}, id="unknown machine"),
        pytest.param({"size_bytes": LARGEST_BYTES + 1}, id="too much"),
        pytest.param({"size_bytes": 0}, id="nothing"),
        pytest.param({"host": "gpu-2"}, id="its own"),
    ],
)
def test_what_does_not_suit_is_not_carried(pair: Artefacts, differences: dict[str, Any]) -> None:
    first, second = engines(pair)
    assert chosen(second, EPYC, [offer(first, **differences)]) is None
    assert chosen(second, EPYC, [offer(first, **differences), offer(first)]) == offer(first)


def test_cards_of_another_kind_are_compiled_for_anew(pair: Artefacts) -> None:
    first, second = engines(pair)
    assert first.compiled
    assert first.compiled.gpus == ("l40s",)
    cards = first.compiled.model_copy(update={"gpus": ("h100",)})
    other = first.model_copy(update={"compiled": cards})
    assert chosen(second, EPYC, [offer(other)]) is None


@pytest.mark.parametrize(
    "differences",
    [{"health": "starting"}, {"state": "exited"}, {"health": "unhealthy"}, {"spec": None}],
    ids=str,
)
def test_what_does_not_serve_gives_nothing(pair: Artefacts, differences: dict[str, Any]) -> None:
    first, _ = engines(pair)
    assert offering([first], {first.name: live(pair, first.name, **differences)}) == ()


def test_replicas_of_a_host_share_what_they_compile(make: MakeArtefacts) -> None:
    """One that is new on a host where another one is needs nothing."""
    artefacts = make(
        profile="20-users",
        hosts=[{"name": "@local", "gpus": "2x l40s"}],
        engine={"kind": "vllm"},
        models=[{"name": "qwen2.5-coder-7b", "replicas": 2}],
    )
    first, second = engines(artefacts)
    assert first.compiled
    assert first.compiled == second.compiled
    assert first.compiled.volume in first.volumes
    assert first.volumes == second.volumes
    serving = {first.name: live(artefacts, first.name)}
    assert list(new_caches([first, second], serving)) == []
    assert list(new_caches([first, second], {})) == [first]
