"""From what was measured to the figures of each use of a load: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy.live.load import sample as outcomes
from deploy.live.load.percentiles import Percentiles, percentiles, percentiles_of_waits
from deploy.live.load.promise import Promise
from deploy.live.load.sample import Sample
from deploy.live.load.session import Measured
from deploy.live.load.workload import Shape, Use

IN_VAIN = {outcomes.UNFINISHED, outcomes.CANCELLED, outcomes.TIMED_OUT}
"""Requests whose people stopped waiting, or would be waiting still."""


@dataclass(frozen=True)
class Part:
    """One use of a load, before it is measured."""

    shape: Shape
    model: str
    people: int
    promise: Promise | None


@dataclass(frozen=True)
class UseFigures:
    """What people met who did one thing."""

    use: Use
    model: str
    people: int
    requests: int
    answered: int
    without_text: int
    """Answered, but with nothing; not counted as answered."""
    cancelled: int
    unfinished: int
    """Still being answered when the load ended."""
    too_many: int
    """Refused with 429."""
    errors: dict[str, int]
    """All others, by kind."""
    first_token_seconds: Percentiles | None
    tokens_per_second_per_person: Percentiles | None
    token_gap_seconds: Percentiles | None
    """Between two tokens of an answer."""
    answer_seconds: Percentiles | None
    """Until an answer was whole."""
    prompt_tokens: float | None
    """Of a prompt on average, as the engine counts them."""
    tokens: int
    tokens_per_second: float
    """Of all together."""
    promise: Promise | None


def use_figures(measured: Measured, part: Part) -> UseFigures:
    """The figures of one use of a load."""
    shape = part.shape
    samples = [each for each in measured.samples if each.use is shape.use]
    counts = Counter(each.outcome for each in samples)
    expected = {
        *(outcomes.ANSWERED, outcomes.EMPTY, outcomes.CANCELLED),
        *(outcomes.UNFINISHED, outcomes.TOO_MANY),
    }
    errors = {kind: n for kind, n in counts.most_common() if kind not in expected}
    prompts = [each.prompt_tokens for each in samples if each.prompt_tokens]
    whole = [each.ended - each.begun for each in samples if each.outcome == outcomes.ANSWERED]
    in_part = [each.ended - each.begun for each in samples if each.outcome in IN_VAIN]
    return UseFigures(
        use=shape.use,
        model=part.model,
        people=part.people,
        requests=len(samples),
        answered=counts[outcomes.ANSWERED],
        without_text=counts[outcomes.EMPTY],
        cancelled=counts[outcomes.CANCELLED],
        unfinished=counts[outcomes.UNFINISHED],
        too_many=counts[outcomes.TOO_MANY],
        errors=errors,
        first_token_seconds=percentiles_of_waits(*first_tokens(samples)),
        tokens_per_second_per_person=percentiles(
            (each.tokens_per_second for each in samples), high_is_good=True
        ),
        token_gap_seconds=percentiles(gap for each in samples for gap in each.gaps),
        answer_seconds=percentiles_of_waits(whole, in_part),
        prompt_tokens=sum(prompts) / len(prompts) if prompts else None,
        tokens=sum(each.written for each in samples),
        tokens_per_second=sum(e.written for e in samples) / max(measured.seconds, 1e-9),
        promise=part.promise,
    )


def first_tokens(samples: Iterable[Sample]) -> tuple[list[float], list[float]]:
    """How long first tokens took, and how long others waited for one in vain."""
    all_of_them = list(samples)
    took = [v for each in all_of_them if (v := each.first_token_seconds) is not None]
    without = [each for each in all_of_them if each.first is None and each.outcome in IN_VAIN]
    return took, [each.ended - each.begun for each in without]


def tokens_over_time(samples: Sequence[Sample], seconds: float) -> list[tuple[float, float]]:
    """Tokens a second of all together, over the seconds of the load."""
    ends: Counter[int] = Counter()
    for each in samples:
        if each.first is None:
            continue
        at = each.first
        ends[int(at)] += 1
        for gap in each.gaps:
            at += gap
            ends[int(at)] += 1
    return [(float(second), float(ends[second])) for second in range(int(seconds))]
