"""``atelier logs``: what a service says."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deploy.cli.options import InventoryArgument


def logs(
    inventory: InventoryArgument,
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="Name of a service, or a part that only one name has."
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new lines as they come, until stopped.")
    ] = False,
    tail: Annotated[
        int, typer.Option("--tail", "-n", min=0, help="How many of the last lines.")
    ] = 100,
) -> None:
    """Print the last log lines of a service; secrets in them are replaced by their names."""
    from deploy.cli.load import load_artefacts
    from deploy.live.logs import find_unit, read_logs

    artefacts = load_artefacts(inventory)
    unit = find_unit(artefacts, service)
    for line in read_logs(artefacts, unit, tail=tail, follow=follow):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
