"""``atelier doctor``: whether the hosts can be deployed to, and how to fix what is wrong."""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import console, print_json, print_table

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Look at every host: connection, sudo, system, Docker, GPUs, memory, disk, ports, registries.

    Exit status 0 if it can be deployed to, 1 if there is a problem. JSON: {"ok": bool,
    "findings": [{"host", "name", "status", "found", "allowed", "fix"}]}.
    """
    from deploy.cli.load import load_artefacts
    from deploy.cli.pyinfra_run import run_doctor

    # what is wrong with the declaration itself is said first
    load_artefacts(inventory)
    findings = run_doctor(inventory)
    ok = all(finding["status"] != "problem" for finding in findings)
    if as_json:
        print_json({"ok": ok, "findings": findings})
    else:
        columns = ["host", "what", "found", "fix"]
        print_table("hosts", columns, [_row(finding) for finding in findings])
        console.print("everything can be deployed" if ok else "[red]this cannot be deployed yet[/]")
    raise typer.Exit(0 if ok else 1)


def _row(finding: dict[str, Any]) -> list[str]:
    style = STYLES[finding["status"]]
    found = [finding["found"], f"allowed: {finding['allowed']}" if finding["allowed"] else ""]
    status = f"[{style}]{finding['name']}: {finding['status']}[/]"
    text = "\n".join(line for line in found if line)
    return [finding["host"], status, escape(text), escape(finding["fix"])]
