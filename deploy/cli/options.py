"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InventoryArgument = Annotated[
    Path,
    typer.Argument(metavar="INVENTORY", help="Inventory file, e.g. inventories/demo.py"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
