"""From what was measured to figures and verdicts: pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deploy.live.load import sample as outcomes
from deploy.live.load.promise import Promise
from deploy.live.load.queue import Queue
from deploy.live.load.sample import Sample
from deploy.live.load.session import Measured
from deploy.live.load.waits import seconds_of, shares
from deploy.live.load.workload import Shape, Use
from deploy.recommend.evaluate import COMPLETION_SECONDS
from deploy.sizing.throughput import ERROR

ENOUGH = 5
"""Fewer answers say nothing."""
FEW_ERRORS = 0.01
"""Part of all requests that may fail in a service that works."""
PERCENTILES = (50, 95, 99)
IN_VAIN = {outcomes.UNFINISHED, outcomes.CANCELLED, outcomes.TIMED_OUT}
"""Requests whose people stopped waiting, or would be waiting still."""


@dataclass(frozen=True)
class Spread:
    """So many percent are no worse than this."""

    p50: float
    p95: float
    p99: float
    count: int
    waited: int = 0
    """Others, for whom it had not come when they stopped waiting; they count as well."""
    longer: tuple[str, ...] = ()
    """Which of the figures are in truth longer: it never came for so many."""


class Kind(StrEnum):
    """How a figure compares with what it should be."""

    KEPT = "kept"
    WITHIN_ERROR = "within the error of the estimate"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


class Measure(StrEnum):
    """What is judged."""

    SPEED = "tokens/s per person"
    FIRST_TOKEN = "first token"  # noqa: S105 - tokens of a text
    PACE = "pace"
    COMPLETION = "completion in time"
    ERRORS = "errors"


@dataclass(frozen=True)
class Verdict:
    """One figure against what it should be."""

    measure: Measure
    kind: Kind
    found: float | None
    wanted: float
    is_longer: bool = False
    """Whether it is in truth longer than what was found."""


@dataclass(frozen=True)
class UseReport:
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
    first_token_seconds: Spread | None
    tokens_per_second_per_person: Spread | None
    token_gap_seconds: Spread | None
    """Between two tokens of an answer."""
    answer_seconds: Spread | None
    """Until an answer was whole."""
    prompt_tokens: float | None
    """Of a prompt on average, as the engine counts them."""
    tokens: int
    tokens_per_second: float
    """Of all together."""
    promise: Promise | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class QueueReport:
    """Requests that waited in the engines, over time."""

    most_waiting: int
    mean_waiting: float
    most_running: int
    looks: int


@dataclass(frozen=True)
class LoadReport:
    """A whole load."""

    deployment: str
    address: str
    through_ssh: bool
    people: int
    seconds: float
    stopped: bool
    uses: tuple[UseReport, ...]
    tokens_per_second: float
    queue: QueueReport | None
    """``None`` where no engine says."""
    late_seconds: float
    """By how much this machine itself was late, 95 % of the time at most."""


@dataclass(frozen=True)
class Part:
    """One use of a load, before it is measured."""

    shape: Shape
    model: str
    people: int
    promise: Promise | None


def report(
    measured: Measured, parts: Sequence[Part], deployment: str, address: str, *, through_ssh: bool
) -> LoadReport:
    """The figures of a load."""
    uses = tuple(_use(measured, part) for part in parts)
    late = spread(measured.late)
    return LoadReport(
        deployment=deployment,
        address=address,
        through_ssh=through_ssh,
        people=sum(part.people for part in parts),
        seconds=measured.seconds,
        stopped=measured.stopped,
        uses=uses,
        tokens_per_second=sum(use.tokens_per_second for use in uses),
        queue=_queue(measured.queue),
        late_seconds=late.p95 if late else 0.0,
    )


def spread(values: Iterable[float | None], *, high_is_good: bool = False) -> Spread | None:
    """Percentiles of what is known; of figures where high is good, what so many reach."""
    known = sorted((v for v in values if v is not None), reverse=high_is_good)
    if not known:
        return None
    p50, p95, p99 = (known[max(math.ceil(len(known) * p / 100), 1) - 1] for p in PERCENTILES)
    return Spread(p50, p95, p99, len(known))


def spread_of_waits(took: Sequence[float], waited: Sequence[float]) -> Spread | None:
    """Percentiles of how long something took.

    Args:
        took: seconds of those for whom it came.
        waited: seconds of those who stopped waiting before.
    """
    if not took and not waited:
        return None
    parts, longest = shares(took, waited), max((*took, *waited))
    found = {f"p{p}": seconds_of(p / 100, parts) for p in PERCENTILES}
    known = {name: longest if each is None else each for name, each in found.items()}
    longer = tuple(name for name, each in found.items() if each is None)
    return Spread(**known, count=len(took), waited=len(waited), longer=longer)


def first_tokens(samples: Iterable[Sample]) -> tuple[list[float], list[float]]:
    """How long first tokens took, and how long others waited for one in vain."""
    all_of_them = list(samples)
    took = [v for each in all_of_them if (v := each.first_token_seconds) is not None]
    without = [each for each in all_of_them if each.first is None and each.outcome in IN_VAIN]
    return took, [each.ended - each.begun for each in without]


def _use(measured: Measured, part: Part) -> UseReport:
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
    found = UseReport(
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
        first_token_seconds=spread_of_waits(*first_tokens(samples)),
        tokens_per_second_per_person=spread(
            (each.tokens_per_second for each in samples), high_is_good=True
        ),
        token_gap_seconds=spread(gap for each in samples for gap in each.gaps),
        answer_seconds=spread_of_waits(whole, in_part),
        prompt_tokens=sum(prompts) / len(prompts) if prompts else None,
        tokens=sum(each.written for each in samples),
        tokens_per_second=sum(e.written for e in samples) / max(measured.seconds, 1e-9),
        promise=part.promise,
        verdicts=(),
    )
    return _judged(found, shape)


def _judged(found: UseReport, shape: Shape) -> UseReport:
    return UseReport(**(vars(found) | {"verdicts": tuple(_verdicts(found, shape))}))


def _verdicts(found: UseReport, shape: Shape) -> Iterator[Verdict]:
    speed, first = found.tokens_per_second_per_person, found.first_token_seconds
    if found.promise and (wanted := found.promise.tokens_per_second_per_user):
        yield _at_least(Measure.SPEED, speed, "p50", wanted)
    if found.promise and (wanted := found.promise.first_token_seconds):
        yield _at_most(Measure.FIRST_TOKEN, first, "p50", wanted, ERROR)
    yield _at_least(Measure.PACE, speed, "p95", shape.pace, error=0.0)
    if found.use is Use.COMPLETIONS:
        yield _at_most(Measure.COMPLETION, found.answer_seconds, "p95", COMPLETION_SECONDS)
    yield _failures(found)


def _failures(found: UseReport) -> Verdict:
    if not found.requests:
        return Verdict(Measure.ERRORS, Kind.NOT_MEASURED, None, FEW_ERRORS)
    share = (sum(found.errors.values()) + found.too_many) / found.requests
    kind = Kind.KEPT if share <= FEW_ERRORS else Kind.MISSED
    return Verdict(Measure.ERRORS, kind, share, FEW_ERRORS)


def _at_least(
    measure: Measure, found: Spread | None, share: str, wanted: float, error: float = ERROR
) -> Verdict:
    if found is None or found.count < ENOUGH:
        return Verdict(measure, Kind.NOT_MEASURED, None, wanted)
    value: float = getattr(found, share)
    kind = Kind.WITHIN_ERROR if value >= wanted * (1 - error) else Kind.MISSED
    return Verdict(measure, Kind.KEPT if value >= wanted else kind, value, wanted)


def _at_most(
    measure: Measure, found: Spread | None, share: str, wanted: float, error: float = 0.0
) -> Verdict:
    if found is None or found.count + found.waited < ENOUGH:
        return Verdict(measure, Kind.NOT_MEASURED, None, wanted)
    value: float = getattr(found, share)
    is_longer, most = share in found.longer, wanted / (1 - error)
    if is_longer and value <= most:
        # no one waited long enough to tell
        return Verdict(measure, Kind.NOT_MEASURED, None, wanted)
    kind = Kind.WITHIN_ERROR if value <= most else Kind.MISSED
    return Verdict(measure, Kind.KEPT if value <= wanted else kind, value, wanted, is_longer)


def _queue(looks: list[Queue]) -> QueueReport | None:
    if not looks:
        return None
    return QueueReport(
        most_waiting=max(each.waiting for each in looks),
        mean_waiting=sum(each.waiting for each in looks) / len(looks),
        most_running=max(each.running for each in looks),
        looks=len(looks),
    )


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
