"""What a plan costs, for people, in 80 columns; and as plain data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.text import Text

from deploy.plan.plan_cost import PlanCost

WIDTH = 78


def cost_text(cost: PlanCost) -> Iterator[Text]:
    """The paragraph of a plan about its cost; nothing for a plan without GPUs."""
    lines = list(_lines(cost))
    if lines:
        yield Text()
        yield Text("cost of the GPUs", style="bold")
    for line in lines:
        wrapped = textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ")
        yield from (Text(part) for part in wrapped)


def cost_to_json(cost: PlanCost) -> dict[str, Any]:
    """The figures, in EUR and watts, rounded to cents."""
    return {
        name: round(value, 2) if isinstance(value, float) else value
        for name, value in asdict(cost).items()
    }


def _lines(cost: PlanCost) -> Iterator[str]:
    rates = cost.rates
    if cost.unpriced:
        yield f"no price is known to the catalogue for {', '.join(cost.unpriced)}"
    elif cost.price_eur and cost.eur_per_month is not None:
        assert cost.eur_per_month_per_user is not None  # noqa: S101 - known with the month's
        yield (
            f"bought: {cost.price_eur:,.0f} EUR once; {cost.eur_per_month:,.0f} EUR a month over"
            f" {rates.years:g} years with {rates.eur_per_kwh:g} EUR/kWh at"
            f" {rates.utilization:.0%} load, {cost.eur_per_month_per_user:,.2f} EUR for each user;"
            f" {cost.power_watts:,.0f} W at most"
        )
    for rent in cost.rents:
        yield (
            f"rented: {rent.host} as {rent.offer} from {rent.provider}:"
            f" {rent.eur_per_month:,.2f} EUR a month"
        )
