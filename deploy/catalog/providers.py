"""Where machines with GPUs can be rented."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from deploy.catalog.entry import Entry


class Offer(Entry):
    """One machine that a provider rents out."""

    name: str
    """What it is, in a line."""
    gpus: dict[str, int] = Field(min_length=1)
    """GPUs in it: how many, by their id in ``gpus.yaml``."""
    price_eur_per_month: float = Field(gt=0)
    """Price in EUR before tax for a month."""
    price_date: date
    """When it cost that."""
    source: str
    """Where the price comes from."""

    @property
    def gpu_ids(self) -> tuple[str, ...]:
        """The id of each GPU in it."""
        return tuple(gpu for gpu, count in self.gpus.items() for _ in range(count))


class Provider(Entry):
    """One provider."""

    name: str
    """Its name."""
    country: str
    """Where it sits."""
    url: str
    """Where it lists its machines."""
    offers: tuple[Offer, ...]
    """The machines."""
