"""An inventory that pyinfra cannot read ends the run, and what is wrong with it is told in short.

pyinfra itself shows a traceback, and of a path where nothing is it says that all is well: without
hosts there is nothing to do. What it takes for granted inside pyinfra is in
tests/test_pyinfra_inventory.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from pyinfra_cli import cli
from pyinfra_cli.exceptions import CliError, UnexpectedExternalError


def refuse_bad_inventories() -> None:
    """Look at what pyinfra makes of the inventory of this run."""
    make = cli.make_inventory

    def make_inventory(inventory: str, *arguments: Any, **settings: Any) -> Any:
        error: Exception | None = None
        if not _may_be_one(inventory):
            _refuse(Path(inventory), None)
        try:
            made = make(inventory, *arguments, **settings)
            if len(made):
                return made
        except UnexpectedExternalError as unexpected:
            error = unexpected.exception
        except CliError:
            raise
        except Exception as internal:
            error = internal
        _refuse(Path(inventory), error)

    cli.make_inventory = make_inventory


def _may_be_one(inventory: str) -> bool:
    """Whether it is a file, or what is no path at all.

    Of a path where nothing is, pyinfra would ask DNS; of a pipe, it would wait for what comes out.
    """
    path = Path(inventory)
    try:
        return path.is_file() or not (_is_path(inventory) or path.exists())
    except OSError:
        return False


def _is_path(inventory: str) -> bool:
    """Whether it can be nothing else, such as hosts or a connector."""
    return not inventory.startswith("@") and ("/" in inventory or inventory.endswith(".py"))


def _refuse(path: Path, error: Exception | None) -> NoReturn:
    # not before: pyinfra keeps the bytecode of what is imported until the inventory is read
    from deploy.errors import InventoryFileError
    from deploy.inventory import not_one, refuse_no_file, refuse_yaml
    from deploy.python_file import python_problem
    from deploy.words import errors_for_operators

    with errors_for_operators():
        refuse_no_file(path)
        refuse_yaml(path)
        raise InventoryFileError(python_problem(path, error) if error else not_one(path, 0))
