"""Who asks which model, what the plan promises them, and what is refused."""

from __future__ import annotations

import pytest

from deploy.errors import PlanError
from deploy.live.load.parts import (
    choose_parts,
    limit_warnings,
    markers_of,
    require_sensible,
)
from deploy.live.load.target import Limits
from deploy.live.load.workload import Choice, Use
from tests.conftest import MakeArtefacts

CHAT, CODE = "qwen3.6-35b-a3b", "qwen2.5-coder-7b-base"
HUNDRED = {
    "profile": "100-users",
    "hosts": [{"name": "gpu1.lab.example", "sudo": True, "gpus": "4x rtx-pro-6000"}],
    "models": [{"name": CHAT, "quantization": "fp8"}, {"name": CODE}],
}


def test_half_of_them_chat_and_half_complete(make: MakeArtefacts) -> None:
    artefacts = make(**HUNDRED)
    code, chat = choose_parts(artefacts, artefacts.plan, 101, Choice.BOTH)
    assert (code.shape.use, code.model, code.people) == (Use.COMPLETIONS, CODE, 51)
    assert (chat.shape.use, chat.model, chat.people) == (Use.CHATS, CHAT, 50)
    markers = markers_of(artefacts, CODE)
    assert markers
    assert markers.prefix == "<|fim_prefix|>"


def test_the_promise_is_the_plans(make: MakeArtefacts) -> None:
    artefacts = make(**HUNDRED)
    [model] = [each for each in artefacts.plan.models if each.name == CHAT]
    [chat] = choose_parts(artefacts, artefacts.plan, 100, Choice.CHATS)
    assert chat.promise
    assert chat.promise.tokens_per_second_per_user == model.tokens_per_second_per_user
    assert chat.promise.users == artefacts.plan.users == 100
    speed, reading = model.tokens_per_second_per_user, model.prompt_tokens_per_second
    assert speed
    assert reading
    # a thousand new tokens are read, and one is written
    assert chat.promise.first_token_seconds == pytest.approx(1000 / reading + 1 / speed)


def test_no_promise_is_made_on_a_processor(make: MakeArtefacts) -> None:
    artefacts = make()
    [only] = choose_parts(artefacts, artefacts.plan, 3, Choice.COMPLETIONS)
    assert only.promise
    assert only.promise.tokens_per_second_per_user is None
    assert only.promise.first_token_seconds is None


def test_one_person_does_one_thing(make: MakeArtefacts) -> None:
    artefacts = make()
    [only] = choose_parts(artefacts, None, 1, Choice.BOTH)
    assert (only.shape.use, only.people, only.promise) == (Use.COMPLETIONS, 1, None)


@pytest.mark.parametrize(
    ("choice", "model", "said"),
    [
        (Choice.CHATS, CODE, f"--model: {CODE} is not for chats"),
        (Choice.BOTH, "gpt", "--model: 'gpt' is not served"),
    ],
)
def test_what_cannot_be_asked(make: MakeArtefacts, choice: Choice, model: str, said: str) -> None:
    artefacts = make(**HUNDRED)
    with pytest.raises(PlanError, match=said):
        choose_parts(artefacts, artefacts.plan, 2, choice, model)


def test_a_model_for_code_alone_chats_with_nobody(make: MakeArtefacts) -> None:
    artefacts = make(**HUNDRED | {"models": [{"name": CODE}]})
    [only] = choose_parts(artefacts, artefacts.plan, 4, Choice.BOTH)
    assert (only.shape.use, only.people) == (Use.COMPLETIONS, 4)
    with pytest.raises(PlanError, match="--use: no model is for chats; served are"):
        choose_parts(artefacts, artefacts.plan, 4, Choice.CHATS)


@pytest.mark.parametrize(
    ("users", "minutes", "said"),
    [(0, 1, "--users: 0"), (1001, 1, "--users: 1001"), (5, 0, "--minutes: 0"), (5, 61, "61")],
)
def test_absurd_loads_are_refused(users: int, minutes: float, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        require_sensible(users, minutes)


def test_what_the_entry_will_refuse_is_said_before(make: MakeArtefacts) -> None:
    artefacts = make(**HUNDRED)
    parts = choose_parts(artefacts, artefacts.plan, 100, Choice.BOTH)
    rate, connections = limit_warnings(parts, Limits(100, 50))
    assert "entry.requests_per_minute" in rate
    assert "100 connections come from this one address, and the entry takes 50" in connections
    assert not list(limit_warnings(parts, Limits(10_000, 500)))
    assert not list(limit_warnings(parts, None))
