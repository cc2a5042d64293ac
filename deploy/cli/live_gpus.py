"""The cards of hosts at work, as ``atelier gpus INVENTORY`` shows them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.cli.output import console, print_json, print_table
from deploy.errors import InventoryFileError, Problem

if TYPE_CHECKING:
    from deploy.live.card import CardUser, LiveCard

COLUMNS = ["host", "card", "GiB", "C", "W", "%", "used by"]
MIB_OF_A_GIB = 1024


def show_cards(inventory: Path | None, host: str | None, *, as_json: bool) -> None:
    """Ask the drivers of hosts, and print what they say.

    Args:
        inventory: the inventory.
        host: name of the one host that is asked; ``None`` for all that have GPUs declared.
        as_json: whether JSON is printed.

    Raises:
        AtelierError: if a host cannot be reached, or its driver does not answer.
    """
    from deploy.cli.load import load_hosts
    from deploy.live.apple_cards import NOT_TOLD
    from deploy.live.gpus import read_cards

    if inventory is None:
        fix = f"atelier gpus INVENTORY --host {host}"
        raise InventoryFileError(Problem("--host", "no inventory to look for it in", fix=fix))
    _, hosts = load_hosts(inventory, host)
    asked = [each for each in hosts if each.gpus or host]
    cards = [(each.name, card) for each in asked for card in read_cards(each)]
    if as_json:
        print_json({"cards": [{"host": name} | asdict(card) for name, card in cards]})
    elif not asked:
        console.print("No host declares GPUs; --host NAME asks one all the same.")
    else:
        print_table("GPUs", COLUMNS, [_row(name, card) for name, card in cards], COLUMNS[2:6])
        if any(card.vendor == "apple" for _, card in cards):
            console.print(NOT_TOLD, markup=False)


def _row(host: str, card: LiveCard) -> list[str]:
    users = "\n".join(map(_user, card.users)) or "no one"
    return [
        host,
        f"{card.index}: {card.name}\ndriver {card.driver_version}",
        f"{_gib(card.memory_used_mib)} / {_gib(card.memory_mib)}",
        _number(card.temperature_celsius),
        f"{_number(card.power_watts)} / {_number(card.power_limit_watts)}",
        _number(card.utilization_percent),
        users,
    ]


def _user(user: CardUser) -> str:
    memory = f", {_gib(user.memory_mib)} GiB" if user.memory_mib else ""
    return f"{user.container or user.name} ({user.pid}{memory})"


def _gib(mib: float | None) -> str:
    return "-" if mib is None else f"{mib / MIB_OF_A_GIB:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
