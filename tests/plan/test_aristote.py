"""What a plan with Aristote says that its users will meet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeArtefacts

POSTGRES: dict[str, Any] = {"postgres": {}}


def said(make: MakeArtefacts, aristote: dict[str, Any] | None = None, **more: Any) -> list[str]:
    router = {"kind": "aristote", **({"aristote": aristote} if aristote else {})}
    return list(make(router=router, **POSTGRES | more).plan.warnings)


def about(warnings: list[str], *words: str) -> list[str]:
    return [each for each in warnings if all(word in each for word in words)]


def test_litellm_is_not_spoken_of(make: MakeArtefacts) -> None:
    assert not about(list(make(**POSTGRES).plan.warnings), "Aristote")


def test_traps_are_named(make: MakeArtefacts) -> None:
    found = said(make)
    assert len(about(found, "HTTP 200", "read the body")) == 1
    assert len(about(found, "no budgets", "limits is not used")) == 1
    assert len(about(found, "tiny-coder: Aristote adds 35 to 100 ms")) == 1


def test_a_model_for_chat_alone_is_not_slow_to_type_with(make: MakeArtefacts) -> None:
    assert not about(said(make, models=[{"name": "tiny-coder", "roles": ["chat"]}]), "35 to 100")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["without max_parallel_requests"]),
        ({"max_parallel_requests": 4, "threshold": 3}, ["(600 s) are over", "may refuse none"]),
        ({"max_parallel_requests": 4}, ["(600 s) are over"]),
    ],
)
def test_what_limits_priorities_and_thresholds_do(
    make: MakeArtefacts, settings: dict[str, Any], words: list[str]
) -> None:
    found = about(said(make, settings), "router.aristote")
    assert len(found) == len(words)
    assert all(word in each for word, each in zip(words, found, strict=True))


@pytest.mark.parametrize(("replicas", "count"), [(1, 0), (2, 1)])
def test_replicas_are_not_drained(make: MakeArtefacts, replicas: int, count: int) -> None:
    found = said(make, models=[{"name": "tiny-coder", "replicas": replicas}])
    assert len(about(found, "while it is replaced")) == count


def test_valkey_is_for_the_web_ui(make: MakeArtefacts) -> None:
    assert about(said(make, valkey={}), "valkey: Aristote does not use it")
    several = {"valkey": {}, "entry": {}, "web_ui": {"replicas": 2}}
    assert not about(said(make, **several), "valkey")


def test_people_have_none_of_the_limits_that_nothing_counts(make: MakeArtefacts) -> None:
    settings = {"people": [{"name": "ada"}], "limits": {"rpm_limit": 60}}
    for kind, limit in (("aristote", None), ("litellm", 60)):
        people = make(router={"kind": kind}, **POSTGRES, **settings).plan.people
        assert people
        assert [person.rpm_limit for person in people.people] == [limit]
