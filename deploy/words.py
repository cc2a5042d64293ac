"""The words that an inventory file is written with.

Inside pyinfra an operator's mistake ends the run with its explanation alone; pyinfra would print
a traceback with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from deploy.catalog import with_profile
from deploy.errors import AtelierError
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
from deploy.yaml_file import read_settings

SpecType = TypeVar("SpecType", bound=Spec)


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
            return declare(_plain(settings))

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
            return declare(read_settings(Path(caller).parent / path))


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


def declare(settings: dict[str, Any]) -> DeploymentSpec:
    """Validate settings over the defaults of their profile.

    Raises:
        SpecError: with one problem per invalid setting.
    """
    return validate(DeploymentSpec, with_profile(settings))


def _plain(value: Any) -> Any:
    """Specs as mappings of what was set, so that profile defaults fill in the rest."""
    if isinstance(value, Spec):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
