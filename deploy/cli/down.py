"""``atelier down``: removes what Atelier deployed, and only that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import InventoryArgument, YesOption
from deploy.cli.output import console


def down(
    inventory: InventoryArgument,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove volumes too: users and chats are lost.")
    ] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Remove it from this host only.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Remove the deployment's containers, network and configuration, after saying which.

    Images, model files and the file of generated secrets stay.
    """
    from deploy.cli.pyinfra_run import run_pyinfra

    task = ["deploy.tasks.down.remove", f"volumes={volumes}", *_limit(inventory, host)]
    pending = run_pyinfra(inventory, *task, "--dry", "--json").changes
    if not pending:
        console.print("Nothing to remove.")
        return
    for change in pending:
        console.print(f"  {change['host']}: remove {change['resource']}")
    if not yes:
        typer.confirm("Remove all of this?", abort=True)
    run_pyinfra(inventory, *task, "-y")
    console.print(f"removed {len(pending)}")


def _limit(inventory: Path, host: str | None) -> list[str]:
    """What pyinfra is told, so that it goes to one host alone."""
    from deploy.cli.load import load_hosts

    if host is None:
        return []
    load_hosts(inventory, host)
    return ["--limit", host]
