"""Machines that can be bought or rented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog import Catalog, Offer, Provider
from deploy.cost import MonthlyCost, Rates, bought, hosted
from deploy.recommend.request import RecommendRequest

GPU_COUNTS = (1, 2, 4, 8)
MOST_CARDS = {"GeForce": 2, "Radeon": 2, "RTX PRO 4": 4, "RTX PRO 5": 4}
"""So many cards of these names go into an ordinary machine: slots, power supply and cooling of a
desktop or a workstation end there. Servers take eight of the others."""
MOST_GPUS = 8
"""Of one machine, and of rented ones together; several machines share the users."""
SERVERS = (2, 3, 4, 8, 16, 32)
"""So many equal servers are considered, each with all the GPUs that one takes."""
LEAST_USERS_OF_A_SERVER = 50
"""With fewer users, a second server is not considered."""
OLLAMA_USERS = 3
"""Up to so many users llama.cpp is considered: it answers few requests at a time."""


@dataclass(frozen=True)
class Hardware:
    """One or several equal machines, and what they cost."""

    gpus: tuple[str, ...]
    """Ids of the GPUs of one machine."""
    machines: int
    """How many of them; each serves its share of the users."""
    power_watts: int
    """Rated power of all GPUs."""
    cost: MonthlyCost | None
    """``None`` where no price is known."""
    offer: str = ""
    """The provider and its name for the machine, for rented ones."""

    @property
    def label(self) -> str:
        """What it is, e.g. ``2x l40s`` or ``OVHcloud 2x (1 x L40S 48 GB)``."""
        one = self.offer or gpus_text(self.gpus)
        return one if self.machines == 1 else f"{self.machines} machines: {one}"

    @property
    def kind(self) -> str:
        """``bought``, ``hosted``, or ``given`` where no price is known."""
        return self.cost.kind if self.cost else "given"

    @property
    def eur_per_month(self) -> float | None:
        """All costs of a month."""
        return self.cost.eur_per_month if self.cost else None

    @property
    def price_eur(self) -> float | None:
        """What is paid once."""
        return self.cost.price_eur if self.cost else None


def gpus_text(gpus: tuple[str, ...]) -> str:
    """GPUs as an operator writes them, e.g. ``2x l40s``."""
    return ", ".join(f"{count}x {name}" for name, count in Counter(gpus).items())


def find_hardware(request: RecommendRequest, catalog: Catalog) -> list[Hardware]:
    """What is worth considering: the GPUs given, or those of the catalogue that have a price."""
    if request.gpus:
        groups = dict.fromkeys((request.gpus, *_kinds(request.gpus)))
        return [found for gpus in groups for found in _given(gpus, request.rates, catalog)]
    return [*_to_buy(request, catalog), *_to_rent(catalog)]


def _kinds(gpus: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The GPUs of each kind on their own: together, the smallest would decide for all."""
    for kind, count in Counter(gpus).items():
        yield (kind,) * count


def buy(
    gpus: tuple[str, ...], rates: Rates, catalog: Catalog, machines: int = 1
) -> Hardware | None:
    """GPUs in machines of one's own; nothing where a price is not known."""
    entries = [catalog.gpus[gpu] for gpu in gpus]
    prices = [entry.price_eur for entry in entries if entry.price_eur is not None]
    if len(prices) < len(entries):
        return None
    power = power_watts(gpus, catalog) * machines
    return Hardware(gpus, machines, power, bought(sum(prices) * machines, power, rates))


def power_watts(gpus: tuple[str, ...], catalog: Catalog) -> int:
    """Rated power of GPUs together."""
    return sum(catalog.gpus[gpu].power_watts or 0 for gpu in gpus)


def _to_buy(request: RecommendRequest, catalog: Catalog) -> Iterator[Hardware]:
    for gpu, entry in catalog.gpus.items():
        mac = entry.vendor == "apple"
        if mac and request.users > OLLAMA_USERS:
            continue
        most = next((n for name, n in MOST_CARDS.items() if entry.name.startswith(name)), MOST_GPUS)
        for count in entry.sold_in or GPU_COUNTS:
            hardware = buy((gpu,) * count, request.rates, catalog)
            if hardware and count <= most:
                yield hardware
                yield from _several(hardware, request, catalog)


def _several(one: Hardware, request: RecommendRequest, catalog: Catalog) -> Iterator[Hardware]:
    """Several full servers: where there are users for each, and their seats are worth them."""
    worth = request.users * request.needs.seat_eur_per_month
    for machines in SERVERS:
        if len(one.gpus) < MOST_GPUS or request.users < machines * LEAST_USERS_OF_A_SERVER:
            return
        several = buy(one.gpus, request.rates, catalog, machines)
        if several and (several.eur_per_month or 0.0) <= worth:
            yield several


def _to_rent(catalog: Catalog) -> Iterator[Hardware]:
    for provider in catalog.providers.values():
        for offer in provider.offers:
            for machines in GPU_COUNTS:
                if machines * len(offer.gpu_ids) <= MOST_GPUS:
                    yield _rented(provider, offer, machines, catalog)


def _rented(provider: Provider, offer: Offer, machines: int, catalog: Catalog) -> Hardware:
    cost = hosted(offer.price_eur_per_month * machines)
    power = power_watts(offer.gpu_ids, catalog) * machines
    return Hardware(offer.gpu_ids, machines, power, cost, f"{provider.name} {offer.name}")


def _given(gpus: tuple[str, ...], rates: Rates, catalog: Catalog) -> Iterator[Hardware]:
    owned = buy(gpus, rates, catalog)
    yield owned or Hardware(gpus, 1, power_watts(gpus, catalog), None)
    for provider in catalog.providers.values():
        for offer in provider.offers:
            machines, rest = divmod(len(gpus), len(offer.gpu_ids))
            if not rest and Counter(offer.gpu_ids * machines) == Counter(gpus):
                yield _rented(provider, offer, machines, catalog)
