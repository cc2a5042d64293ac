"""People ask a stand-in of an engine over real connections, and what they measure is so."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Sequence

import pytest

from deploy.live.load import sample as outcomes
from deploy.live.load.queue import Queue
from deploy.live.load.sample import Sample
from deploy.live.load.session import Measured, run
from deploy.live.load.target import Target, characters_per_token
from deploy.live.load.workload import Person, Shape, Use
from tests.live.load.server import serving


def shape(use: Use, tokens: int = 20) -> Shape:
    return Shape(use, 400, 100, tokens, pause_seconds=0.01, pace=10)


def measure(target: Target, people: Sequence[Person], enough: int) -> Measured:
    """Until so many requests have ended; Ctrl-C stops it then."""

    def stop(_: float, samples: Sequence[Sample]) -> None:
        if sum(each.outcome != outcomes.UNFINISHED for each in samples) >= enough:
            os.kill(os.getpid(), signal.SIGINT)

    return run(people, target, 60, lambda seconds: Queue(seconds, 1, 2), stop)


def test_ctrl_c_ends_it_with_what_was_measured() -> None:
    with serving(200.0, first_token_seconds=0.05) as target:
        people = [Person(number, 0, "m", shape(Use.CHATS)) for number in range(4)]
        found = measure(target, people, 12)
    assert found.stopped
    assert found.queue
    whole = [each for each in found.samples if each.outcome == outcomes.ANSWERED]
    assert len(whole) >= 12
    for each in whole:
        assert (each.parts, each.tokens, each.prompt_tokens) == (20, 20, 100)
        assert (each.first_token_seconds or 0) >= 0.05
        # conversations are kept by who has them alone
        assert not each.text


def test_it_ends_by_itself() -> None:
    with serving(20.0) as target:
        people = [Person(0, 0, "m", shape(Use.CHATS, tokens=1000))]
        found = run(people, target, 2, lambda _: None, lambda *_: None)
    assert not found.stopped
    [only] = found.samples
    assert only.outcome == outcomes.UNFINISHED


def test_completions_are_given_up_as_editors_do() -> None:
    # nothing comes before somebody types on
    with serving(1000.0, first_token_seconds=30) as target:
        people = [Person(number, 0, "m", shape(Use.COMPLETIONS)) for number in range(30)]
        found = measure(target, people, 4)
    ended = [each for each in found.samples if each.outcome != outcomes.UNFINISHED]
    assert {each.outcome for each in ended} == {outcomes.CANCELLED}
    assert all(each.first_token_seconds is None for each in ended)


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        ("refused", outcomes.TOO_MANY),
        ("broken", "HTTP 500"),
        ("cut", outcomes.CUT),
        ("error", "an error in the stream (oom)"),
        ("text", outcomes.NO_JSON),
        ("list", outcomes.NO_JSON),
        ("own lines", outcomes.ANSWERED),
    ],
)
def test_failures_are_told_apart(model: str, outcome: str) -> None:
    with serving(100.0) as target:
        found = measure(target, [Person(0, 0, model, shape(Use.CHATS))], 1)
    assert found.samples[0].outcome == outcome


def test_nobody_there() -> None:
    with serving(100.0) as target:
        pass
    found = measure(target, [Person(0, 0, "m", shape(Use.CHATS))], 1)
    assert found.samples[0].outcome == outcomes.NO_CONNECTION


def test_a_busy_machine_is_late() -> None:
    def report(_now: float, _: Sequence[Sample]) -> None:
        time.sleep(0.5)

    with serving(20.0) as target:
        people = [Person(0, 0, "m", shape(Use.CHATS))]
        found = run(people, target, 2, lambda _: None, report)
    assert max(found.late) > 0.3


def test_more_people_than_a_program_may_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(50.0) as target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, hard))
        try:
            people = [Person(number, 0, "m", shape(Use.CHATS)) for number in range(60)]
            found = measure(target, people, 80)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {each.outcome for each in found.samples} <= {outcomes.ANSWERED, outcomes.UNFINISHED}


def test_tokens_are_counted_by_the_model_itself() -> None:
    with serving(100.0) as target:
        for chats in (True, False):
            # 400 characters, and 100 tokens as the engine says
            assert characters_per_token(target, "m", 0, chats=chats) == 4.0
