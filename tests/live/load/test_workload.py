"""What made-up people ask: the same for the same seed, within what the model takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog.models import FillInTheMiddle
from deploy.live.load.workload import SHAPES, TYPES_ON_SHARE, Person, Shape, Step, Use

MARKERS = FillInTheMiddle(prefix="<P>", suffix="<S>", middle="<M>")
ANSWER = "An answer. " * 40
EACH = pytest.mark.parametrize("use", list(Use))


def steps(count: int, shape: Shape, seed: int = 1, number: int = 0) -> list[Step]:
    person = Person(number, seed, "model", shape, MARKERS)
    return [person.next(ANSWER if index else "") for index in range(count)]


def said(step: Step) -> str:
    return "".join(each["content"] for each in step.body["messages"])


@EACH
def test_the_same_seed_asks_the_same(use: Use) -> None:
    shape = SHAPES[use]
    assert steps(5, shape) == steps(5, shape)
    assert steps(5, shape) != steps(5, shape, seed=2)
    assert steps(5, shape) != steps(5, shape, number=1)


@EACH
@given(max_model_len=st.integers(64, 300_000))
def test_what_is_asked_is_within_what_the_model_takes(use: Use, max_model_len: int) -> None:
    shape = SHAPES[use].within(max_model_len)
    assert shape.output_tokens >= 1
    assert shape.prompt_tokens >= 1
    person = Person(0, 0, "model", shape, None, characters_per_token=1.0)
    for index in range(8):
        body: Any = person.next("a" * shape.output_tokens if index else "").body
        text = body.get("prompt") or "".join(each["content"] for each in body["messages"])
        # the question of each turn is not counted as code
        assert len(text) - 60 * text.count("What is wrong") <= shape.context_tokens
        assert body["max_tokens"] + shape.prompt_tokens <= max_model_len


def test_somebody_types_in_one_file() -> None:
    prompts = [step.body["prompt"] for step in steps(6, SHAPES[Use.COMPLETIONS])]
    for prompt in prompts:
        assert prompt.startswith("<P>def ")
        assert prompt.endswith("<M>")
        assert prompt.count("<S>") == 1
    for one, other in pairwise(prompts):
        assert one != other
        # what an engine has in its cache
        assert one[:2000] == other[:2000]
        assert one.partition("<S>")[2] == other.partition("<S>")[2]


def test_a_model_that_wants_the_suffix_first() -> None:
    markers = MARKERS.model_copy(update={"suffix_first": True, "middle": ""})
    prompt = Person(0, 0, "m", SHAPES[Use.COMPLETIONS], markers).next("").body["prompt"]
    assert prompt.startswith("<S>")
    assert "<P>" in prompt
    plain = Person(0, 0, "m", SHAPES[Use.COMPLETIONS]).next("").body["prompt"]
    assert "<" not in plain[:1]


def test_some_completions_are_given_up() -> None:
    shape = SHAPES[Use.COMPLETIONS]
    given_up = [step.cancel_after_seconds for step in steps(400, shape)]
    share = sum(each is not None for each in given_up) / 400
    assert share == pytest.approx(TYPES_ON_SHARE, abs=0.08)
    assert all(step.cancel_after_seconds is None for step in steps(5, SHAPES[Use.CHATS]))


def test_a_conversation_goes_on_until_it_is_full() -> None:
    lengths = [len(step.body["messages"]) for step in steps(20, SHAPES[Use.CHATS])]
    assert lengths[:3] == [1, 3, 5]
    assert lengths.count(1) >= 2
    # one that broke off is not gone on with
    person = Person(0, 0, "m", SHAPES[Use.CHATS])
    person.next("")
    assert len(person.next("").body["messages"]) == 1


@EACH
def test_pauses_are_as_long_as_said_on_average(use: Use) -> None:
    shape = replace(SHAPES[use], context_tokens=64, prompt_tokens=8, output_tokens=8)
    pauses = [step.pause_seconds for step in steps(2000, shape)][1:]
    assert sum(pauses) / len(pauses) == pytest.approx(shape.pause_seconds, rel=0.1)
    assert max(pauses) <= 5 * shape.pause_seconds
