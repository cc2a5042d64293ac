"""What the GPUs of a plan cost, bought or rented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog import Catalog
from deploy.cost import Rates, bought, eur_per_user
from deploy.plan.deployment_plan import DeploymentPlan, HostPlan


@dataclass(frozen=True)
class Rent:
    """An offer with the GPUs of one host."""

    host: str
    provider: str
    offer: str
    eur_per_month: float
    """Before tax."""


@dataclass(frozen=True)
class PlanCost:
    """What the GPUs of a plan cost; ``None`` where a price or a power is not known."""

    price_eur: float | None
    """Paid once."""
    power_watts: float | None
    """Rated power of all GPUs."""
    eur_per_month: float | None
    """Price and electricity, by the rates."""
    eur_per_month_per_user: float | None
    """The same over the declared users."""
    unpriced: tuple[str, ...]
    """GPUs whose price the catalogue does not know."""
    rents: tuple[Rent, ...]
    """Offers that match a host's GPUs."""
    rates: Rates
    """Years, price of electricity and utilisation that the figures are for."""


def plan_cost(plan: DeploymentPlan, catalog: Catalog, rates: Rates) -> PlanCost:
    """Add up the GPUs of every host.

    Args:
        plan: what runs where.
        catalog: where prices, powers and offers are looked up.
        rates: how purchases and electricity are counted.
    """
    gpus = [catalog.gpus[name] for host in plan.hosts for name in host.gpus]
    names = [name for host in plan.hosts for name in host.gpus]
    unpriced = tuple(dict.fromkeys(n for n in names if catalog.gpus[n].price_eur is None))
    price = None if unpriced else float(sum(gpu.price_eur or 0 for gpu in gpus))
    unknown_power = any(gpu.power_watts is None for gpu in gpus)
    power = None if unknown_power else float(sum(gpu.power_watts or 0 for gpu in gpus))
    monthly = None
    if price is not None and power is not None:
        monthly = bought(price, power, rates).eur_per_month
    return PlanCost(
        price_eur=price,
        power_watts=power,
        eur_per_month=monthly,
        eur_per_month_per_user=None if monthly is None else eur_per_user(monthly, plan.users),
        unpriced=unpriced,
        rents=tuple(rent for host in plan.hosts for rent in _rents(host, catalog)),
        rates=rates,
    )


def _rents(host: HostPlan, catalog: Catalog) -> Iterator[Rent]:
    if not host.gpus:
        return
    for provider in catalog.providers.values():
        for offer in provider.offers:
            if Counter(offer.gpus) == Counter(host.gpus):
                yield Rent(host.name, provider.name, offer.name, offer.price_eur_per_month)
