"""The ``atelier`` command: one module per verb."""

from __future__ import annotations

import sys

import typer

from deploy.cli.check import check
from deploy.cli.down import down
from deploy.cli.env import env
from deploy.cli.logs import logs
from deploy.cli.output import error_console, print_json
from deploy.cli.schema import schema
from deploy.cli.status import status
from deploy.cli.verify import verify
from deploy.errors import AtelierError

app = typer.Typer(
    name="atelier",
    help="Plan, check and look after self-hosted coding assistants.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (check, verify, status, logs, env, down, schema):
    app.command()(verb)


def main() -> None:
    """Run the command; an operator's mistake ends it with its explanation and exit status 1."""
    try:
        app(prog_name="atelier")
    except AtelierError as error:
        _report(error)
        sys.exit(1)


def _report(error: AtelierError) -> None:
    if "--json" in sys.argv:
        print_json({"error": str(error), "problems": [vars(problem) for problem in error.problems]})
    else:
        error_console.print("[bold red]error:[/] ", end="")
        error_console.print(str(error), markup=False, soft_wrap=True)
