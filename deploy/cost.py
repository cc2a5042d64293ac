"""What hardware costs, bought or rented, and where it beats a service priced per token.

Everything is in EUR before tax. A month has 730 hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
MONTHS_PER_YEAR = 12


@dataclass(frozen=True)
class Rates:
    """What the operator declares about money and use."""

    years: float = 3.0
    """Over how many years bought hardware is paid."""
    eur_per_kwh: float = 0.25
    """Price of electricity."""
    utilization: float = 0.2
    """Share of all hours in which it works at full load: 8 hours of 220 days a year are 0.2."""
    idle_power_share: float = 0.15
    """Power of an idle card over its rated power: a rule of thumb, models stay loaded."""


@dataclass(frozen=True)
class MonthlyCost:
    """What something costs, bought or rented."""

    kind: str
    """``bought`` or ``hosted``."""
    price_eur: float
    """Paid once, in EUR; 0 for what is rented."""
    hardware_eur_per_month: float
    """The price over the months, or the rent."""
    power_eur_per_month: float
    """Electricity; 0 for what is rented, whose rent includes it."""

    @property
    def eur_per_month(self) -> float:
        """All of it."""
        return self.hardware_eur_per_month + self.power_eur_per_month


@dataclass(frozen=True)
class Efficiency:
    """The slides' figures of a machine under load."""

    tokens_per_second_per_watt: float
    tokens_per_second_per_eur: float
    """Over the price paid once."""
    watts_per_user: float


def bought(price_eur: float, power_watts: float, rates: Rates) -> MonthlyCost:
    """What hardware costs that is bought and runs on one's own electricity."""
    kwh = average_watts(power_watts, rates) / 1000 * HOURS_PER_MONTH
    months = rates.years * MONTHS_PER_YEAR
    return MonthlyCost("bought", price_eur, price_eur / months, kwh * rates.eur_per_kwh)


def hosted(rent_eur_per_month: float) -> MonthlyCost:
    """What rented machines cost."""
    return MonthlyCost("hosted", 0.0, rent_eur_per_month, 0.0)


def average_watts(power_watts: float, rates: Rates) -> float:
    """Power over all hours, busy and idle."""
    idle = (1 - rates.utilization) * rates.idle_power_share
    return power_watts * (rates.utilization + idle)


def eur_per_user(eur_per_month: float, users: int) -> float:
    """EUR per user and month."""
    return eur_per_month / users


def million_tokens_per_month(tokens_per_second: float, utilization: float = 1.0) -> float:
    """Million tokens that are generated in a month at a rate, busy that share of the time."""
    return tokens_per_second * utilization * SECONDS_PER_MONTH / 1e6


def eur_per_million_tokens(
    eur_per_month: float, tokens_per_second: float, utilization: float
) -> float:
    """EUR per million generated tokens; infinite where none are."""
    tokens = million_tokens_per_month(tokens_per_second, utilization)
    return eur_per_month / tokens if tokens > 0 else math.inf


def efficiency(
    tokens_per_second: float, users: int, power_watts: float, price_eur: float
) -> Efficiency:
    """The figures of a machine that serves so many users at once.

    Args:
        tokens_per_second: of all users together.
        users: at once.
        power_watts: rated power.
        price_eur: paid once.
    """
    return Efficiency(
        tokens_per_second_per_watt=tokens_per_second / power_watts,
        tokens_per_second_per_eur=tokens_per_second / price_eur,
        watts_per_user=power_watts / users,
    )


def months_until_cheaper(
    price_eur: float, power_eur_per_month: float, rent_eur_per_month: float
) -> float | None:
    """Months after which buying has cost less than renting; ``None`` for never."""
    saved = rent_eur_per_month - power_eur_per_month
    return price_eur / saved if saved > 0 else None


def break_even_million_tokens(
    eur_per_month: float, saas_eur_per_million_tokens: float
) -> float | None:
    """Million tokens a month from which a service priced per token costs more."""
    if saas_eur_per_million_tokens <= 0:
        return None
    return eur_per_month / saas_eur_per_million_tokens
