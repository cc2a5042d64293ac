"""The report of a whole load: its figures with their verdicts, and the queue; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.live.load.figures import Part, UseFigures, use_figures
from deploy.live.load.percentiles import percentiles
from deploy.live.load.queue import Queue
from deploy.live.load.session import Measured
from deploy.live.load.verdicts import Verdict, verdicts


@dataclass(frozen=True)
class UseReport(UseFigures):
    """The figures of one use, and what they are worth."""

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


def report(
    measured: Measured, parts: Sequence[Part], deployment: str, address: str, *, through_ssh: bool
) -> LoadReport:
    """The figures of a load."""
    uses = tuple(_use(measured, part) for part in parts)
    late = percentiles(measured.late)
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


def _use(measured: Measured, part: Part) -> UseReport:
    found = use_figures(measured, part)
    return UseReport(**vars(found), verdicts=tuple(verdicts(found, part.shape)))


def _queue(looks: list[Queue]) -> QueueReport | None:
    if not looks:
        return None
    return QueueReport(
        most_waiting=max(each.waiting for each in looks),
        mean_waiting=sum(each.waiting for each in looks) / len(looks),
        most_running=max(each.running for each in looks),
        looks=len(looks),
    )
