"""From figures to verdicts: what was promised, and what was found; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from deploy.live.load.figures import UseFigures
from deploy.live.load.percentiles import Percentiles
from deploy.live.load.workload import Shape, Use
from deploy.recommend.evaluate import COMPLETION_SECONDS
from deploy.sizing.throughput import ERROR

ENOUGH = 5
"""Fewer answers say nothing."""
FEW_ERRORS = 0.01
"""Part of all requests that may fail in a service that works."""


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


def verdicts(found: UseFigures, shape: Shape) -> Iterator[Verdict]:
    """The figures of one use against what was promised for it, and what its people need."""
    speed, first = found.tokens_per_second_per_person, found.first_token_seconds
    if found.promise and (wanted := found.promise.tokens_per_second_per_user):
        yield _at_least(Measure.SPEED, speed, "p50", wanted)
    if found.promise and (wanted := found.promise.first_token_seconds):
        yield _at_most(Measure.FIRST_TOKEN, first, "p50", wanted, ERROR)
    yield _at_least(Measure.PACE, speed, "p95", shape.pace, error=0.0)
    if found.use is Use.COMPLETIONS:
        yield _at_most(Measure.COMPLETION, found.answer_seconds, "p95", COMPLETION_SECONDS)
    yield _failures(found)


def _failures(found: UseFigures) -> Verdict:
    if not found.requests:
        return Verdict(Measure.ERRORS, Kind.NOT_MEASURED, None, FEW_ERRORS)
    share = (sum(found.errors.values()) + found.too_many) / found.requests
    kind = Kind.KEPT if share <= FEW_ERRORS else Kind.MISSED
    return Verdict(Measure.ERRORS, kind, share, FEW_ERRORS)


def _at_least(
    measure: Measure, found: Percentiles | None, share: str, wanted: float, error: float = ERROR
) -> Verdict:
    if found is None or found.count < ENOUGH:
        return Verdict(measure, Kind.NOT_MEASURED, None, wanted)
    value: float = getattr(found, share)
    kind = Kind.WITHIN_ERROR if value >= wanted * (1 - error) else Kind.MISSED
    return Verdict(measure, Kind.KEPT if value >= wanted else kind, value, wanted)


def _at_most(
    measure: Measure, found: Percentiles | None, share: str, wanted: float, error: float = 0.0
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
