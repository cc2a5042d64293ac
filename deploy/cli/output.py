"""How the command talks: tables and text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """Print data as JSON on standard output, with nothing else around it."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_table(
    title: str,
    columns: list[str],
    rows: list[list[str]],
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Print rows under their column names.

    Args:
        title: what stands above the table.
        columns: the column names.
        rows: the cells of each row.
        numbers: columns of numbers, set to the right; with any, the table has no vertical lines.
        whole: columns whose lines are not folded while there is room.
    """
    table = Table(title=title, title_justify="left", title_style="bold")
    if numbers:
        table.box, table.padding, table.show_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
        table.pad_edge = False
    for column in columns:
        justify: Any = "right" if column in numbers else "left"
        table.add_column(column, overflow="fold", justify=justify, no_wrap=column in whole)
    for row in rows:
        table.add_row(*row)
    console.print(table)
