"""``atelier check``: an honest dry run, for pipelines."""

from __future__ import annotations

import typer

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import console, print_json, print_table


def check(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Say what a deployment would change, and change nothing.

    Exit status 0 if there is nothing to do, 2 if changes are pending, 1 on an error. JSON:
    {"pending": int, "changes": [{"host", "resource", "action", "fields": [{"field", "old",
    "new"}]}]}.
    """
    from deploy.cli.pyinfra_run import run_pyinfra

    run = run_pyinfra(inventory, "deploy.py", "--dry", "--json")
    changes = [
        {key: row[key] for key in ("host", "resource", "action", "fields")} for row in run.changes
    ]
    if as_json:
        print_json({"pending": len(changes), "changes": changes})
    elif not changes:
        console.print("nothing to do: what runs is what is declared")
    else:
        rows = [
            [row["host"], row["action"], row["resource"], _fields(row["fields"])] for row in changes
        ]
        print_table("pending changes", ["host", "action", "resource", "fields"], rows)
    raise typer.Exit(2 if changes else 0)


def _fields(fields: list[dict[str, str]]) -> str:
    return "\n".join(f"{field['field']}: {field['old']} -> {field['new']}" for field in fields)
