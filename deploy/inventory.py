"""How an inventory file is read, and what pyinfra gets of it."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.ahead import read_ahead
from deploy.connection_errors import explain_connection_errors
from deploy.errors import AtelierError, InventoryFileError, Problem
from deploy.interrupt import interrupt_where_it_waits
from deploy.pyinfra_calls import find_lines_without_their_text
from deploy.pyinfra_connection import connect_as_declared
from deploy.python_file import python_problem
from deploy.spec import DeploymentSpec, HostSpec
from deploy.words import declare, errors_for_operators
from deploy.yaml_file import read_settings

PyinfraHosts = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Declared:
    """A deployment and the directory that its relative paths start from."""

    spec: DeploymentSpec
    directory: Path

    def __copy__(self) -> Declared:
        """Itself: pyinfra copies the data of each host, and hosts must share what is made of it."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain data; what ``pyinfra debug-inventory`` prints."""
        return {"spec": self.spec.to_json(), "directory": str(self.directory)}


def pyinfra_hosts(deployment: DeploymentSpec, inventory_file: str) -> PyinfraHosts:
    """The deployment's hosts as pyinfra expects them.

    Args:
        deployment: what is deployed.
        inventory_file: ``__file__`` of the inventory; relative paths start next to it.
    """
    declared = _declare(deployment, Path(inventory_file))
    deployment = declared.spec
    if "pyinfra_cli" in sys.modules:
        _refuse_another(deployment.name, inventory_file)
        explain_connection_errors(deployment)
        connect_as_declared(deployment)
        interrupt_where_it_waits()
        find_lines_without_their_text()
        read_ahead(tuple(model.name for model in deployment.models))
        _stop_at_failures()
    return [(host.name, _host_data(host) | {"atelier": declared}) for host in deployment.hosts]


def _declare(deployment: DeploymentSpec, inventory_file: Path) -> Declared:
    """A deployment whose keys are found from anywhere: relative paths start at the inventory."""
    directory = inventory_file.resolve().parent
    hosts = tuple(
        host.model_copy(update={"ssh_key": str(directory / host.ssh_key)})
        if host.ssh_key and not host.ssh_key.startswith("~")
        else host
        for host in deployment.hosts
    )
    return Declared(deployment.model_copy(update={"hosts": hosts}), directory)


FOR_PYINFRA: dict[str, set[str]] = {}
"""Names of the deployments that each file gives pyinfra hosts of: an inventory may start from
another one, whose hosts it does not use."""


def _refuse_another(name: str, inventory_file: str) -> None:
    """Of two deployments, pyinfra would mix the hosts."""
    names = FOR_PYINFRA.setdefault(inventory_file, set())
    names.add(name)
    with errors_for_operators():
        if len(names) > 1:
            raise InventoryFileError(not_one(inventory_file, len(names)))


def not_one(path: str | Path, count: int) -> Problem:
    """An inventory has one deployment: what is wrong with another number of them."""
    fix = (
        "give each deployment an inventory of its own"
        if count
        else "end the file with: hosts = pyinfra_hosts(deployment, __file__)"
    )
    return Problem(str(path), f"{count} deployments", "one", fix)


def _stop_at_failures() -> None:
    """Let no host fail and the others go on: what depends on it must not be deployed.

    pyinfra reads its settings from config.py in the directory that it is called from; this is
    called from anywhere. It would also ask whether to go on, and take Enter for a yes.
    """
    import gevent
    from pyinfra import config, state
    from pyinfra.api.exceptions import PyinfraError

    if config.FAIL_PERCENT is None:
        config.FAIL_PERCENT = 0
    state.should_raise_failed_hosts = None
    hub = gevent.get_hub()
    if PyinfraError not in hub.NOT_ERROR:
        # the last host that fails ends the run: said once, and without a traceback of a greenlet
        hub.NOT_ERROR = (*hub.NOT_ERROR, PyinfraError)


def load_inventory(path: Path) -> Declared:
    """Read an inventory file: Python, or YAML with the deployment alone.

    Raises:
        AtelierError: if it cannot be read or what it declares is not valid.
    """
    refuse_no_file(path)
    if _is_yaml(path):
        return _declare(declare(read_settings(path)), path)
    if "." not in sys.path:
        # as pyinfra does
        sys.path.append(".")
    try:
        # what it prints is no part of what a verb prints
        with redirect_stdout(sys.stderr):
            variables = runpy.run_path(str(path))
    except AtelierError:
        raise
    except (Exception, SystemExit) as error:
        raise InventoryFileError(python_problem(path, error)) from error
    found_here = {id(declared): declared for declared in _declared(variables)}
    if len(found_here) != 1:
        raise InventoryFileError(not_one(path, len(found_here)))
    return next(iter(found_here.values()))


def refuse_no_file(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        InventoryFileError: with what it is.
    """
    found = _what_it_is(path)
    if found:
        allowed = "" if found == NO_FILE else "a file, e.g. inventories/demo.py"
        fix = "give the path of an inventory file"
        raise InventoryFileError(Problem(str(path), found, allowed, fix))


NO_FILE = "no such file"


def _what_it_is(path: Path) -> str:
    """What a path leads to; empty if that is a file."""
    try:
        kinds = {
            "": path.is_file(),
            "a directory": path.is_dir(),
            "a pipe": path.is_fifo(),
            "a socket": path.is_socket(),
            "a device": path.is_char_device() or path.is_block_device(),
        }
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return next((kind for kind, is_one in kinds.items() if is_one), NO_FILE)


def refuse_yaml(path: Path) -> None:
    """Refuse what pyinfra does not read.

    Raises:
        InventoryFileError: with what to write instead.
    """
    if _is_yaml(path):
        python = path.with_suffix(".py").name
        raise InventoryFileError(
            Problem(
                str(path),
                "an inventory in YAML, which pyinfra does not read",
                "an inventory in Python",
                f"write {python} next to it, with the three lines: from deploy import Deployment,"
                f" pyinfra_hosts; deployment = Deployment.load({path.name!r});"
                " hosts = pyinfra_hosts(deployment, __file__)",
            )
        )


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in {".yaml", ".yml"}


def _declared(variables: dict[str, Any]) -> Iterator[Declared]:
    for value in variables.values():
        for item in value if isinstance(value, list) else []:
            match item:
                case (str(), {"atelier": Declared() as declared}):
                    yield declared


def _host_data(host: HostSpec) -> dict[str, Any]:
    data: dict[str, Any] = {
        "ssh_hostname": host.address,
        "ssh_user": host.ssh_user,
        "ssh_port": host.ssh_port,
        "ssh_key": host.ssh_key,
        "_sudo": host.sudo or None,
    }
    return {name: value for name, value in data.items() if value is not None}
