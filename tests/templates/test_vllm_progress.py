"""Whether a vLLM goes on: made-up and recorded looks, without an engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.templates.vllm_programs import load_program

RECORDED = json.loads((Path(__file__).parent / "vllm_looks.json").read_text())
"""Of vLLM 0.32 on CPUs with the tiny model, looked at twice a second while it read a prompt of
12,000 tokens and once a second else: seconds, a hash of all figures, and some of them."""
HANG_SECONDS, INTERVAL = 45.0, 5.0
progress = load_program("progress")
Verdict = progress.Verdict


def judge(looks: Iterable[Any], hang_seconds: float = HANG_SECONDS) -> list[Any]:
    """What is thought after each look, until it is ended."""
    watched = progress.Progress(hang_seconds, INTERVAL)
    found = []
    for look in looks:
        found.append(watched.see(look))
        if found[-1] in {Verdict.HANGS, Verdict.SILENT}:
            break
    return found


def looks(
    figures: Iterable[int | None], *, interval: float = INTERVAL, **more: Any
) -> Iterator[Any]:
    """A look every few seconds, while somebody waits."""
    for number, value in enumerate(figures):
        said = None if value is None else (f"tokens {value}",)
        yield progress.Look(at=number * interval, figures=said, **{"is_asked": True} | more)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.floats(1, 12))
def test_whatever_moves_in_time_never_hangs(runs: list[int], interval: float) -> None:
    """Each run is how many looks in a row see the same figures."""
    figures = [number for number, length in enumerate(runs) for _ in range(length)]
    assert Verdict.HANGS not in judge(looks(figures, interval=min(interval, INTERVAL)))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 10_000)), max_size=60))
def test_whom_nobody_asks_never_hangs(steps: list[tuple[bool, bool, float]]) -> None:
    at, seen, value = 0.0, [], 0
    for moves, answers, passed in steps:
        at, value = at + passed, value + moves
        seen.append(progress.Look(at=at, figures=(str(value),) if answers else None))
    assert set(judge(seen)) <= {Verdict.WORKS}


@given(st.integers(0, 20), st.lists(st.integers(0, 3), max_size=20))
def test_what_stands_still_is_found_in_time(idle: int, before: list[int]) -> None:
    """Whatever was before, as long as it went on at every look."""
    moving = [sum(before[:n]) + n for n in range(len(before) + idle)]
    still = [moving[-1] if moving else 0] * 20
    found = judge(looks([*moving, *still]))
    assert found[-1] == Verdict.HANGS
    assert (len(found) - max(len(moving), 1)) * INTERVAL <= HANG_SECONDS + INTERVAL
    assert found[-3] == Verdict.STILL


@given(st.floats(HANG_SECONDS, 1e6))
def test_time_without_a_look_does_not_count(paused: float) -> None:
    """The container was paused, or its host slept."""
    before = list(looks([1, 1, 1, 1]))
    after = progress.Look(at=before[-1].at + paused, figures=("tokens 1",), is_asked=True)
    assert judge([*before, after])[-1] != Verdict.HANGS


@given(st.integers(1, 200))
def test_an_answered_token_a_compiler_or_no_figures_are_no_hang(times: int) -> None:
    for more in ({"answered_after": 0.1}, {"compiles": True}):
        assert Verdict.HANGS not in judge(looks([1] * times, **more))
    # an engine that has none of these figures is not judged
    assert set(judge(looks([None] * times))) == {Verdict.WORKS}


def test_what_an_engine_got_over_it_may_do_again() -> None:
    """A step of 30 s, e.g. a chunk of a prompt on a slow GPU: from then on 90 s are allowed."""
    once = [1] * 7 + [2] * 18
    assert Verdict.HANGS not in judge(looks(once))
    assert judge(looks(once + [2] * 3))[-1] == Verdict.HANGS
    # one that answers at once had nothing to do: somebody only kept a connection
    idle = list(looks([1] * 4))
    answered = progress.Look(at=24, figures=("tokens 2",), is_asked=True, answered_after=0.1)
    later = [progress.Look(at=24 + 6 * n, figures=("tokens 2",), is_asked=True) for n in range(9)]
    assert judge([*idle, answered, *later])[-1] == Verdict.HANGS


def test_a_server_that_answers_nothing_ends_after_five_minutes() -> None:
    found = judge(looks([1] + [None] * 100, is_silent=True))
    assert found[-1] == Verdict.SILENT
    assert len(found) * INTERVAL == pytest.approx(300, abs=2 * INTERVAL)


def recorded(name: str) -> list[Any]:
    """Looks as they were recorded, five times as slow: one a second is one every 5 s here."""
    return [
        progress.Look(at=INTERVAL * row["at"], figures=(row["figures"],), is_asked=True)
        for row in RECORDED[name]
    ]


@pytest.mark.parametrize("name", ["saturated", "long prompt", "goes on"])
def test_recorded_work_moves_with_every_look(name: str) -> None:
    """Four requests run and eight wait; a prompt is read; and what was stopped before."""
    seen = recorded(name)
    assert len(seen) >= 10
    assert set(judge(seen)) == {Verdict.WORKS}


def test_a_recorded_long_prompt_moves_no_token() -> None:
    """What a watch of tokens alone would take for a hang: only the KV cache grows."""
    rows = RECORDED["long prompt"]
    assert len({(row["prompt_tokens_total"], row["generation_tokens_total"]) for row in rows}) == 1
    assert len({row["kv_cache_usage_perc"] for row in rows}) == len(rows)


def test_a_recorded_hang_is_found() -> None:
    """The engine core was stopped while four requests ran and two waited."""
    assert {row["num_requests_running"] for row in RECORDED["stopped"]} == {4}
    found = judge(recorded("stopped"))
    assert found[-1] == Verdict.HANGS
    assert len(found) <= 10
