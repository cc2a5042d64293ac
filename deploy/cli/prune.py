"""``atelier prune``: removes images that a deployment brought and does not need any more."""

from __future__ import annotations

from typing import Any

import typer

from deploy.cli.options import InventoryArgument, JsonOption, YesOption
from deploy.cli.output import console, print_json, print_table


def prune(
    inventory: InventoryArgument, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Remove old images of the deployment from its hosts, after saying which.

    Images that a container uses stay, and so does everything that Atelier did not bring. JSON:
    {"images": [{"host", "reference", "size"}]}; without --yes nothing is removed.
    """
    from deploy.cli.pyinfra_run import run_pyinfra

    task = "deploy.tasks.prune.remove"
    old = [_row(change) for change in run_pyinfra(inventory, task, "--dry", "--json").changes]
    if as_json:
        print_json({"images": old})
    elif old:
        rows = [[row["host"], row["reference"], row["size"]] for row in old]
        print_table("images that nothing uses", ["host", "image", "size"], rows, ["size"])
    else:
        console.print("no image can go")
    if not old or (as_json and not yes):
        return
    if not yes:
        typer.confirm("Remove them?", abort=True)
    run_pyinfra(inventory, task, "-y")
    if not as_json:
        console.print(f"removed {len(old)}")


def _row(change: dict[str, Any]) -> dict[str, str]:
    return {
        "host": change["host"],
        "reference": change["resource"].removeprefix("image "),
        "size": change["fields"][0]["old"],
    }
