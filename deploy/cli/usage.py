"""``atelier usage``: who used how much of the router."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import print_json, print_table

if TYPE_CHECKING:
    from deploy.people.usage import Usage

FIELDS = (
    "name",
    "requests",
    "failed_requests",
    "prompt_tokens",
    "completion_tokens",
    "spend",
)


class Part(StrEnum):
    """What use is told apart by."""

    USER = "user"
    TEAM = "team"
    MODEL = "model"


def usage(
    inventory: InventoryArgument,
    by: Annotated[Part, typer.Option(help="What each row is for.")] = Part.USER,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Days or weeks, or the first day: 7d, 2026-01-31.")
    ] = "7d",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """Show requests, tokens and spending of whole days (UTC), today's included.

    Figures reach the database within a minute. Spending is in the currency of the declared prices.
    JSON: {"by", "since", "until", "usage": [{"name", "requests", "failed_requests",
    "prompt_tokens", "completion_tokens", "spend"}]}.
    """
    from deploy.cli.load import load_artefacts
    from deploy.live.router import open_routers
    from deploy.people.usage import first_day, of_all

    today = datetime.now(UTC).date()
    first = first_day(since, today)
    artefacts = load_artefacts(inventory)
    with open_routers(artefacts) as routers:
        found = of_all(each.usage(by.value, first, today) for each in routers.values())
    if as_json:
        days = {"since": first.isoformat(), "until": today.isoformat()}
        print_json({"by": by.value, **days, "usage": [asdict(each) for each in found]})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in found)
    else:
        columns = [by.value, "requests", "failed", "prompt tokens", "answer tokens", "spent"]
        title = f"{artefacts.plan.name}, {first} to {today}"
        print_table(title, columns, [_row(each) for each in found], columns[1:])


def _row(usage: Usage) -> list[str]:
    numbers = (
        usage.requests,
        usage.failed_requests,
        usage.prompt_tokens,
        usage.completion_tokens,
    )
    return [usage.name, *(f"{number:,}" for number in numbers), f"{usage.spend:.4g}"]
