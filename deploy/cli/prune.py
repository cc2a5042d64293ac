"""``atelier prune``: removes images and weights that nothing needs any more."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deploy.cli.options import InventoryArgument, JsonOption, YesOption
from deploy.cli.output import console, print_json, print_table

KINDS = {"images": "image ", "programs": "program ", "weights": "weights "}
"""What resources of each kind begin with."""


def prune(
    inventory: InventoryArgument,
    models: Annotated[
        bool, typer.Option("--models", help="Remove weights of Hugging Face, too.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old images and programs of the deployment from its hosts, after saying which.

    Images that a container uses stay, and so does everything that Atelier did not bring.
    --models also removes weights that neither this deployment nor a container of another one
    names. JSON: {"images": [{"host", "reference", "size"}], "programs": ...}, with --models
    "weights", too; without --yes nothing is removed.
    """
    from deploy.cli.pyinfra_run import run_pyinfra

    task = ["deploy.tasks.prune.remove", *(["models=True"] if models else [])]
    changes = run_pyinfra(inventory, *task, "--dry", "--json").changes
    old = {
        kind: [_row(change, begin) for change in changes if change["resource"].startswith(begin)]
        for kind, begin in KINDS.items()
        if models or kind != "weights"
    }
    if not as_json:
        _show(old)
    if changes and (yes or not as_json):
        if not yes:
            typer.confirm("Remove them?", abort=True)
        run_pyinfra(inventory, *task, "-y")
        if not as_json:
            console.print(f"removed {len(changes)}")
    if as_json:
        print_json(old)


def _show(old: dict[str, list[dict[str, str]]]) -> None:
    for kind, found in old.items():
        rows = [[row["host"], row["reference"], row["size"]] for row in found]
        if rows:
            columns = ["host", kind if kind == "weights" else kind.removesuffix("s"), "size"]
            print_table(f"{kind} that nothing uses", columns, rows, ["size"])
    if not any(old.values()):
        console.print("nothing can go")


def _row(change: dict[str, Any], begin: str) -> dict[str, str]:
    return {
        "host": change["host"],
        "reference": change["resource"].removeprefix(begin),
        "size": change["fields"][0]["old"],
    }
