"""Atelier deploys self-hosted coding assistants.

These are the words of an inventory file; everything else is in the subpackages. They are imported
when they are first used, so that a command which needs none of them starts at once.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.inventory import (
        Acme,
        Aristote,
        Deployment,
        Driver,
        Engine,
        Entry,
        ExternalAccount,
        Host,
        Image,
        Ldap,
        Limits,
        Links,
        Model,
        Oidc,
        Person,
        Postgres,
        Price,
        Program,
        Registry,
        Router,
        Secret,
        Team,
        Valkey,
        WebUI,
        pyinfra_hosts,
    )

__all__ = [
    "Acme",
    "Aristote",
    "Deployment",
    "Driver",
    "Engine",
    "Entry",
    "ExternalAccount",
    "Host",
    "Image",
    "Ldap",
    "Limits",
    "Links",
    "Model",
    "Oidc",
    "Person",
    "Postgres",
    "Price",
    "Program",
    "Registry",
    "Router",
    "Secret",
    "Team",
    "Valkey",
    "WebUI",
    "pyinfra_hosts",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _import_faster()
    from deploy import inventory

    return getattr(inventory, name)


def _import_faster() -> None:
    """Save a third of the time that the imports of a run take."""
    # imports make many objects and no garbage
    gc.set_threshold(100_000)
    # pyinfra switches this off for files that it runs, which have no bytecode anyway
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
