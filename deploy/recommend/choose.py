"""Which option is the best, and why not the others.

The benefit of an option grows with the square of its strength, since what is not solved must be
done by hand after all, and with the root of its speed, up to a speed that is good enough. Where the
operator says what there is (GPUs or a budget), the most benefit within it wins, of nearly equal
ones the cheapest. Where nothing is said, a user with the best of models is worth what a seat of a
service costs, and the costs are taken off.

What one option is worth never depends on the others: a bigger budget never gives a worse answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.cost import MONTHS_PER_YEAR
from deploy.recommend.evaluate import Option
from deploy.recommend.hardware import Hardware
from deploy.recommend.request import RecommendRequest
from deploy.recommend.strength import step
from deploy.sizing.throughput import ERROR

BENEFIT_STEP = 0.05
"""With a limit, options within such a step of benefit count as equal: the cheapest wins."""


UNMEASURED = 0.9
"""Share of its benefit that counts of what nothing published was compared with: a judgement, since
it may start with less memory, or need a release or driver of its own."""


@dataclass(frozen=True)
class NotChosen:
    """An option that lost, or hardware that was not even an option."""

    what: str
    kind: str
    """``over_budget``, ``too_small``, ``dearer``, ``weaker`` or ``less_value``."""
    reason: str


def worth(option: Option, request: RecommendRequest) -> tuple[float, float, float]:
    """What an option is worth to this operator: the more the better."""
    cost, gain = option.eur_per_month or 0.0, benefit(option, request)
    if request.has_limit:
        return math.floor(gain / BENEFIT_STEP), -cost, gain
    return request.users * request.needs.seat_eur_per_month * gain - cost, -cost, gain


def benefit(option: Option, request: RecommendRequest) -> float:
    """What each user has of it: 1 for the best of models at a good speed.

    A speed that nothing published was compared with counts at its pessimistic side, and the whole
    a tenth less.
    """
    speed = option.tokens_per_second_per_user / request.needs.good_pace
    speed *= 1.0 if option.is_measured else 1 - ERROR
    gain = most_benefit(option.strength, request) * math.sqrt(min(speed, 1.0))
    return gain if option.is_measured else gain * UNMEASURED


def most_benefit(points: float, request: RecommendRequest) -> float:
    """The same, however fast it may be."""
    return (points / request.needs.full_points) ** 2


def over_budget(hardware: Hardware, request: RecommendRequest) -> str:
    """Why hardware is too dear; empty where it is not."""
    months = request.rates.years * MONTHS_PER_YEAR
    total = hardware.price_eur
    if hardware.kind == "hosted" and hardware.eur_per_month is not None:
        total = hardware.eur_per_month * months
    return _over("--budget", request.budget_eur, total, "EUR") or _over(
        "--budget-per-month", request.budget_eur_per_month, hardware.eur_per_month, "EUR a month"
    )


def _over(name: str, budget: float | None, cost: float | None, unit: str) -> str:
    if budget is None:
        return ""
    if cost is None:
        return f"no price is known: {name} cannot be kept"
    return f"{cost:,.0f} {unit}, {name} is {budget:,.0f}" if cost > budget else ""


def frontier(options: list[Option]) -> list[Option]:
    """The options that no cheaper one matches in strength, the cheapest first."""
    found: list[Option] = []
    for option in sorted(options, key=lambda o: (o.eur_per_month or 0.0, -o.strength)):
        if not found or step(option.strength) > step(found[-1].strength):
            found.append(option)
    return found


def side_by_side(best: Option, options: list[Option], request: RecommendRequest) -> list[Option]:
    """The best one, and the ones to compare it with: cheaper, stronger (or faster), rented."""
    others = [option for option in options if option is not best]
    if request.gpus:
        ranked = sorted(others, key=lambda o: worth(o, request), reverse=True)
        names = dict.fromkeys(o.candidate.model for o in ranked)
        first = [next(o for o in ranked if o.candidate.model == name) for name in names]
        return [best, *(o for o in first if o.candidate.model != best.candidate.model)][:4]
    edge, cost = frontier(options), best.eur_per_month or 0.0
    cheaper = [o for o in edge if (o.eur_per_month or 0.0) < cost][-1:]
    stronger = [o for o in edge if step(o.strength) > step(best.strength)][:1]
    stronger = stronger or _faster(best, others)
    return [best, *dict.fromkeys((*cheaper, *stronger, *_of_another_kind(best, others, request)))]


def _faster(best: Option, others: list[Option]) -> list[Option]:
    """The cheapest as strong that is faster by more than the speed is unsure."""
    wanted = best.tokens_per_second_per_user * (1 + ERROR)
    found = [
        option
        for option in others
        if option.hardware.kind == best.hardware.kind
        and step(option.strength) >= step(best.strength)
        and option.tokens_per_second_per_user >= wanted
    ]
    return [min(found, key=lambda o: o.eur_per_month or 0.0)] if found else []


def _of_another_kind(best: Option, others: list[Option], request: RecommendRequest) -> list[Option]:
    """What is rented where the best one is bought, or the other way round: like for like.

    The cheapest that is as strong; only where there is none, the one that is worth most.
    """
    other = [o for o in others if o.hardware.kind != best.hardware.kind]
    as_strong = [o for o in other if step(o.strength) >= step(best.strength)]
    if as_strong:
        return [min(as_strong, key=lambda o: (o.eur_per_month or 0.0, -o.strength))]
    return sorted(other, key=lambda o: worth(o, request))[-1:]


def losers(best: Option, options: list[Option], request: RecommendRequest) -> Iterator[NotChosen]:
    """Why each other option was not chosen, the nearest first."""
    for option in sorted(options, key=lambda o: worth(o, request), reverse=True):
        if option is not best:
            yield _against(option, best)


def _against(option: Option, best: Option) -> NotChosen:
    what = f"{option.hardware.label}, {option.candidate.text}"
    cost, best_cost = option.eur_per_month or 0.0, best.eur_per_month or 0.0
    here, there = step(option.strength), step(best.strength)
    if here <= there and cost > best_cost:
        reason = f"{cost:,.0f} EUR a month instead of {best_cost:,.0f}"
        return NotChosen(what, "dearer", reason)
    if here < there:
        reason = f"strength {option.strength:.0f} instead of {best.strength:.0f}"
        return NotChosen(what, "weaker", reason)
    if here == there:
        speed, best_speed = option.tokens_per_second_per_user, best.tokens_per_second_per_user
        reason = f"as strong, {speed:.0f} tokens/s per user instead of {best_speed:.0f}"
        return NotChosen(what, "less_value", reason)
    ratio = option.strength / best.strength
    reason = f"{ratio:.1f} times as strong, {cost / max(best_cost, 0.01):.1f} times the price"
    return NotChosen(what, "less_value", reason)
