"""``atelier verify``: does the deployment answer?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import console, error_console, print_json


def verify(
    inventory: InventoryArgument,
    privacy: Annotated[
        bool,
        typer.Option(
            "--privacy",
            help="Send marked requests in every way, and search every log, database, store and"
            " file for them and for keys.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask every engine, the router and the web UI whether they answer.

    Exit status 0 if every answer is right, else 1. JSON: {"ok": bool, "checks":
    [{"name", "host", "ok", "seconds", "detail", "warning"}]}. With --privacy: docs/privacy.md.
    """
    from deploy.cli.load import load_artefacts
    from deploy.cli.privacy import verify_privacy
    from deploy.live.verify import verify as ask

    if privacy:
        raise typer.Exit(0 if verify_privacy(inventory, as_json=as_json) else 1)
    checks = []
    for check in ask(load_artefacts(inventory), tell=_tell):
        checks.append(check)
        if not as_json:
            mark = "[green]ok[/]    " if check.ok else "[red]failed[/]"
            console.print(f"{mark} {check.seconds:6.2f} s  {check.name} on {check.host}: ", end="")
            console.print(check.detail, markup=False)
            if check.warning:
                console.print("[yellow]warning[/]         ", end="")
                console.print(check.warning, markup=False)
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    raise typer.Exit(0 if ok else 1)


def _tell(waiting: str) -> None:
    error_console.print(waiting, markup=False, soft_wrap=True)
