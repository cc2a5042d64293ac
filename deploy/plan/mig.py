"""Layouts of GPUs that are divided (MIG), which cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.catalog import Catalog, MigCard, in_order, place_instances
from deploy.errors import Problem


def layout_problems(
    path: str, gpus: Sequence[str], gpu: int, profiles: Sequence[str], catalog: Catalog
) -> Iterator[Problem]:
    """Why a GPU cannot be divided as declared.

    Args:
        path: where it stands in the inventory.
        gpus: catalogue ids of the host's GPUs.
        gpu: which of them.
        profiles: the instances.
        catalog: what cards can be divided into.
    """
    if gpu >= len(gpus):
        yield Problem(
            path,
            f"GPU {gpu}, but the host has {len(gpus)}",
            f"0 to {len(gpus) - 1}, as in nvidia-smi",
        )
        return
    name = gpus[gpu]
    card = catalog.mig.get(name)
    if card is None:
        found = f"no profiles (MIG) of {name} are known"
        yield Problem(path, found, ", ".join(catalog.mig), f"leave mig[{gpu}] out")
        return
    unknown = [profile for profile in profiles if profile not in card.profiles]
    if unknown:
        found = f"{name} has no profile {unknown[0]}"
        yield Problem(path, found, _allowed(card), "see nvidia-smi mig -lgip")
    elif not place_instances(card, profiles):
        yield Problem(path, _too_much(name, card, profiles), _allowed(card), "declare fewer")


def _too_much(name: str, card: MigCard, profiles: Sequence[str]) -> str:
    ordered = in_order(card, profiles)
    count = next(n for n in range(1, len(ordered) + 1) if not place_instances(card, ordered[:n]))
    before = ", ".join(ordered[: count - 1])
    others = f" next to {before}" if before else ""
    return f"{name} has no room for {ordered[count - 1]}{others}"


def _allowed(card: MigCard) -> str:
    """The profiles, with how many of each there can be."""
    return ", ".join(f"{card.most(name)}x {name}" for name in card.profiles)
