"""What an inventory file is written with, and how one is read.

Inside pyinfra an operator's mistake ends the run with its explanation alone; pyinfra would print
a traceback with it.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from deploy.ahead import read_ahead
from deploy.catalog import with_profile
from deploy.connection_errors import explain_connection_errors
from deploy.errors import AtelierError, InventoryFileError, Problem
from deploy.interrupt import interrupt_where_it_waits
from deploy.pyinfra_calls import find_lines_without_their_text
from deploy.pyinfra_connection import connect_as_declared
from deploy.spec import (
    AcmeSpec,
    AristoteSpec,
    DeploymentSpec,
    DriverSpec,
    EngineSpec,
    EntrySpec,
    ExternalAccountSpec,
    HostSpec,
    ImageSpec,
    LdapSpec,
    LimitsSpec,
    LinksSpec,
    ModelSpec,
    OidcSpec,
    PersonSpec,
    PostgresSpec,
    PriceSpec,
    ProgramSpec,
    RegistrySpec,
    RouterSpec,
    SecretSource,
    TeamSpec,
    ValkeySpec,
    WebUISpec,
)
from deploy.spec.base import Spec
from deploy.spec.validation import refuse_unnamed, validate
from deploy.yaml_file import parse_yaml

SpecType = TypeVar("SpecType", bound=Spec)
PyinfraHosts = list[tuple[str, dict[str, Any]]]
MAPPING = "a mapping of settings"


@contextmanager
def errors_for_operators() -> Iterator[None]:
    """Inside pyinfra, print an operator's mistake and end the run; elsewhere, raise it."""
    try:
        yield
    except AtelierError as error:
        if "pyinfra_cli" not in sys.modules:
            raise
        sys.stderr.write(f"\n{error}\n\n")
        raise SystemExit(1) from None


class Declaration(Generic[SpecType]):
    """Makes specs of one kind from keyword arguments."""

    def __init__(self, kind: type[SpecType]) -> None:
        self._kind = kind
        self.__doc__ = kind.__doc__

    def __call__(self, *unnamed: Any, **settings: Any) -> SpecType:
        """Validate the settings.

        Raises:
            SpecError: with one problem per invalid setting.
        """
        with errors_for_operators():
            refuse_unnamed(self._kind, unnamed)
            return validate(self._kind, settings, self._kind.__name__.removesuffix("Spec"))


class DeploymentDeclaration:
    """A whole deployment, from keyword arguments or from a YAML file."""

    def __call__(self, *unnamed: Any, **settings: Any) -> DeploymentSpec:
        """Validate the settings over the defaults of their profile.

        Raises:
            SpecError: with one problem per invalid setting.
        """
        with errors_for_operators():
            refuse_unnamed(DeploymentSpec, unnamed)
            return _deployment(_plain(settings))

    def load(self, path: str | Path) -> DeploymentSpec:
        """Read the same settings from a YAML file.

        Args:
            path: where it is; a relative one starts next to the file that this is called in.

        Raises:
            InventoryFileError: if the file cannot be read as a mapping.
            SpecError: with one problem per invalid setting.
        """
        caller = sys._getframe(1).f_globals.get("__file__", "")
        with errors_for_operators():
            return _deployment(_read_yaml(Path(caller).parent / path))


Acme = Declaration(AcmeSpec)
Aristote = Declaration(AristoteSpec)
Deployment = DeploymentDeclaration()
Driver = Declaration(DriverSpec)
Engine = Declaration(EngineSpec)
Entry = Declaration(EntrySpec)
ExternalAccount = Declaration(ExternalAccountSpec)
Host = Declaration(HostSpec)
Image = Declaration(ImageSpec)
Ldap = Declaration(LdapSpec)
Limits = Declaration(LimitsSpec)
Links = Declaration(LinksSpec)
Model = Declaration(ModelSpec)
Oidc = Declaration(OidcSpec)
Person = Declaration(PersonSpec)
Postgres = Declaration(PostgresSpec)
Price = Declaration(PriceSpec)
Program = Declaration(ProgramSpec)
Registry = Declaration(RegistrySpec)
Router = Declaration(RouterSpec)
Secret = Declaration(SecretSource)
Team = Declaration(TeamSpec)
Valkey = Declaration(ValkeySpec)
WebUI = Declaration(WebUISpec)


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
            raise InventoryFileError(_not_one(inventory_file, len(names)))


def _not_one(path: str | Path, count: int) -> Problem:
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
    from pyinfra import config, state

    if config.FAIL_PERCENT is None:
        config.FAIL_PERCENT = 0
    state.should_raise_failed_hosts = None


def load_inventory(path: Path) -> Declared:
    """Read an inventory file: Python, or YAML with the deployment alone.

    Raises:
        AtelierError: if it cannot be read or what it declares is not valid.
    """
    if not path.is_file():
        found = "a directory" if path.is_dir() else "no such file"
        raise InventoryFileError(
            Problem(str(path), found, fix="give the path of an inventory file")
        )
    if is_yaml(path):
        return _declare(_deployment(_read_yaml(path)), path)
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
        raise InventoryFileError(_python_problem(path, error)) from error
    found_here = {id(declared): declared for declared in _declared(variables)}
    if len(found_here) != 1:
        raise InventoryFileError(_not_one(path, len(found_here)))
    return next(iter(found_here.values()))


def is_yaml(path: Path) -> bool:
    """Whether an inventory file is YAML, which pyinfra does not read."""
    return path.suffix.lower() in {".yaml", ".yml"}


def _python_problem(path: Path, error: BaseException) -> Problem:
    """What Python says of an inventory file, and in which of its lines."""
    if isinstance(error, SyntaxError):
        line, message = error.lineno, error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame.lineno for frame in frames if frame.filename == str(path)]
        line, message = next(reversed(own), None), str(error)
    where = f"{path}, line {line}" if line else str(path)
    return Problem(where, f"{type(error).__name__}: {message}", fix="correct the inventory file")


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


def _deployment(settings: dict[str, Any]) -> DeploymentSpec:
    return validate(DeploymentSpec, with_profile(settings))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InventoryFileError(
            Problem(str(path), f"cannot be read: {reason}", "a YAML file")
        ) from None
    data = parse_yaml(text, path, MAPPING)
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise InventoryFileError(Problem(str(path), found, MAPPING))
    return data


def _plain(value: Any) -> Any:
    """Specs as mappings of what was set, so that profile defaults fill in the rest."""
    if isinstance(value, Spec):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
