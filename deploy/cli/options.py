"""Arguments and options that several verbs share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand


class Verb(TyperCommand):
    """A verb whose help is plain text: in a table of 80 columns, long options lose their ends."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"rich_markup_mode": None})


def writable(path: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before there is something to write.

    Raises:
        typer.BadParameter: if it cannot.
    """
    if path is not None:
        place = path if path.exists() else path.parent
        if path.is_dir() or not place.exists() or not os.access(place, os.W_OK):
            raise typer.BadParameter(f"{path} cannot be written: name a file in a folder of yours")
    return path


InventoryArgument = Annotated[
    Path,
    typer.Argument(metavar="INVENTORY", help="Inventory file, e.g. inventories/demo.py"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
PageOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", callback=writable, help="Write a page (HTML) with diagrams."
    ),
]
