"""The ``atelier`` command: one module per verb."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, TextIO

import typer

from deploy.cli.ca import ca
from deploy.cli.check import check
from deploy.cli.compare import compare
from deploy.cli.doctor import doctor
from deploy.cli.down import down
from deploy.cli.env import env
from deploy.cli.gpus import gpus
from deploy.cli.images import images
from deploy.cli.info import info
from deploy.cli.load_report import load
from deploy.cli.lock import lock
from deploy.cli.logs import logs
from deploy.cli.models import models
from deploy.cli.options import Verb
from deploy.cli.output import error_console, print_json
from deploy.cli.plan import plan
from deploy.cli.prune import prune
from deploy.cli.recommend import recommend
from deploy.cli.schema import schema
from deploy.cli.secrets import secrets
from deploy.cli.size import size
from deploy.cli.status import status
from deploy.cli.usage import usage
from deploy.cli.users import users
from deploy.cli.verify import verify
from deploy.errors import AtelierError, Problem

app = typer.Typer(
    name="atelier",
    help="Plan, check and look after self-hosted coding assistants.",
    epilog="Deploy: pyinfra INVENTORY deploy.py. With --data new_secrets=yes, or with"
    " ATELIER_NEW_SECRETS=1, the secrets of this machine replace those that the hosts were"
    " deployed with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
PANELS = {
    "Plan": (plan, size, compare, recommend, models, gpus, schema),
    "Deploy": (doctor, check, verify, images),
    "Look after": (status, logs, load, info, env, ca, prune, down),
    "People": (usage,),
}
PLAIN = {
    "Value error, ": "",
    "Input should be": "it must be",
    "a valid integer, unable to parse string as an integer": "a whole number",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid number, unable to parse string as a number": "a number",
}
"""What pydantic says of a wrong value, and how it is told."""
for panel, verbs in PANELS.items():
    for verb in verbs:
        app.command(cls=Verb, rich_help_panel=panel)(verb)
app.add_typer(users, rich_help_panel="People")
app.add_typer(lock, rich_help_panel="Look after")
app.add_typer(secrets, rich_help_panel="Look after")


def main() -> None:
    """Run the command; an operator's mistake ends it with its explanation and exit status 1."""
    # a caller may have closed them
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    try:
        status = app(prog_name="atelier", standalone_mode=False)
    except AtelierError as error:
        _report(error)
        status = 1
    except typer.TyperException as error:
        # typer carries a click of its own: its errors are not those of the click package
        status = _report_usage(error)
    except BrokenPipeError:
        # whoever reads has seen enough; what is left is not written at the end, either
        with _nowhere() as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        status = 1
    except OSError as error:
        where, found = error.filename or "this machine", error.strerror or str(error)
        _report(AtelierError(Problem(str(where), found)))
        status = 1
    except (typer.Abort, KeyboardInterrupt):
        error_console.print("stopped")
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _nowhere(mode: Literal["r", "w"] = "w") -> TextIO:
    return Path(os.devnull).open(mode, encoding="utf-8")


def _report(error: AtelierError) -> None:
    if "--json" in sys.argv:
        print_json({"error": str(error), "problems": [vars(problem) for problem in error.problems]})
    else:
        error_console.print("[bold red]error:[/] ", end="")
        error_console.print(str(error), markup=False, soft_wrap=True)


def _report_usage(error: typer.TyperException) -> int:
    message = error.format_message()
    for said, plain in PLAIN.items():
        message = message.replace(said, plain)
    if "--json" in sys.argv:
        print_json({"error": message, "problems": []})
        return 1
    error_console.print("[bold red]error:[/] ", end="")
    error_console.print(message, markup=False, soft_wrap=True)
    # of a check, 2 says that changes are pending
    return 1 if sys.argv[1:2] == ["check"] else error.exit_code
