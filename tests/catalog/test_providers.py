"""Hosted machines and their prices."""

from datetime import date

from deploy.catalog import load_catalog

PROVIDERS = load_catalog().providers


def test_every_gpu_is_in_the_catalogue() -> None:
    gpus = load_catalog().gpus
    offers = [offer for provider in PROVIDERS.values() for offer in provider.offers]
    assert [offer.name for offer in offers if not set(offer.gpus) <= set(gpus)] == []


def test_the_figures_of_the_slides() -> None:
    prices = {
        (name, *offer.gpu_ids): offer.price_eur_per_month
        for name, provider in PROVIDERS.items()
        for offer in provider.offers
        if offer.price_date == date(2025, 4, 1)
    }
    assert prices == {
        ("ovh", "a10"): 554.80,
        ("ovh", "l40s"): 1008,
        ("ovh", "l40s", "l40s"): 2016,
        ("ovh", "h100-pcie", "h100-pcie"): 3880,
        ("scaleway", "l40s", "l40s"): 2044,
        ("scaleway", "h100-pcie", "h100-pcie"): 3985.80,
    }


def test_the_memory_of_the_slides() -> None:
    gpus = load_catalog().gpus
    memory = [
        sum(gpus[gpu].memory_gib or 0 for gpu in offer.gpu_ids)
        for provider in PROVIDERS.values()
        for offer in provider.offers
    ]
    assert memory == [24, 48, 96, 160, 96, 160]
