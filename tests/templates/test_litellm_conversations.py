"""The same conversation goes to the same replica while it has room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

KEY = "digest of a key"
IDS = ("a", "b", "c")


@pytest.fixture
def module(load: Callable[[str], Any]) -> Any:
    return load("atelier_conversations")


def replicas(*ids: str, room: int = 8) -> list[dict[str, Any]]:
    return [
        {"model_info": {"id": each, "room": room}, "litellm_params": {"api_base": each}}
        for each in ids
    ]


def chosen(module: Any, rows: list[dict[str, Any]], wanted: str | None, **busy: int) -> list[str]:
    found = module.prefer(rows, wanted, lambda address: busy.get(address, 0))
    return [row["model_info"]["id"] for row in found]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


SYSTEM = {"role": "system", "content": "be brief"}
ANSWER = {"role": "assistant", "content": "pong"}


@pytest.mark.parametrize(
    ("kind", "first", "later"),
    [
        (
            "acompletion",
            {"messages": [SYSTEM, user("ping")]},
            {"messages": [SYSTEM, user("ping"), ANSWER, user("again")]},
        ),
        (
            "anthropic_messages",
            {"system": "one", "messages": [user([{"type": "text", "text": "ping"}])]},
            {"system": "two", "messages": [user([{"type": "text", "text": "ping"}]), ANSWER]},
        ),
        ("aresponses", {"input": "ping"}, {"input": "ping", "stream": True}),
        ("aresponses", {"input": [user("ping")]}, {"input": [user("ping"), ANSWER, user("x")]}),
        ("atext_completion", {"prompt": "x = 1\n" * 60}, {"prompt": "x = 1\n" * 60 + "y = "}),
    ],
)
def test_a_conversation_is_known_by_how_it_begins(
    module: Any, kind: str, first: dict[str, Any], later: dict[str, Any]
) -> None:
    begun = module.conversation_of(first, kind, KEY)
    assert begun is not None
    assert module.conversation_of(later, kind, KEY) == begun
    assert module.conversation_of(first, kind, "another key") != begun


@pytest.mark.parametrize(
    ("kind", "request_data"),
    [
        ("aembedding", {"input": "ping"}),
        ("acompletion", {"messages": [SYSTEM]}),
        ("acompletion", {"messages": ["what no client should send"]}),
        ("acompletion", {"messages": 5}),
        ("acompletion", {}),
    ],
)
def test_some_requests_belong_to_none(module: Any, kind: str, request_data: dict[str, Any]) -> None:
    assert module.conversation_of(request_data, kind, KEY) is None
    assert chosen(module, replicas(*IDS), None) == list(IDS)


def test_no_text_of_a_conversation_is_kept(module: Any) -> None:
    known = module.conversation_of({"messages": [user("a secret")]}, "acompletion", KEY)
    assert len(known) == 64
    assert "secret" not in known


def test_routers_agree_and_conversations_are_spread(module: Any) -> None:
    """Whatever the order in which a router knows the replicas."""
    wanted = [f"conversation {number}" for number in range(300)]
    here = [chosen(module, replicas("a", "b", "c"), each) for each in wanted]
    there = [chosen(module, replicas("c", "a", "b"), each) for each in wanted]
    assert here == there
    counts = Counter(each for [each] in here)
    assert sorted(counts) == list(IDS)
    assert min(counts.values()) > 70


def test_only_what_a_replica_had_moves_when_it_is_left_out(module: Any) -> None:
    for number in range(100):
        wanted = f"conversation {number}"
        [before] = chosen(module, replicas(*IDS), wanted)
        [after] = chosen(module, replicas("a", "b"), wanted)
        assert before in {after, "c"}


def test_a_conversation_waits_for_no_replica_without_room(module: Any) -> None:
    rows = replicas("a", "b", room=2)
    [first] = chosen(module, rows, "x")
    [other] = {"a", "b"} - {first}
    assert chosen(module, rows, "x", **{first: 1, other: 1}) == [first]
    assert chosen(module, rows, "x", **{first: 2, other: 1}) == [other]
    # where none has room, to the least busy
    assert chosen(module, rows, "x", **{first: 3, other: 2}) == [other]


def test_a_replica_has_half_as_much_again_as_the_average_at_most(module: Any) -> None:
    rows = replicas("a", "b", room=100)
    [first] = chosen(module, rows, "x")
    [other] = {"a", "b"} - {first}
    assert chosen(module, rows, "x", **{first: 20, other: 11}) == [first]
    assert chosen(module, rows, "x", **{first: 24, other: 7}) == [other]
