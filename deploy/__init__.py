"""Atelier deploys self-hosted coding assistants.

These are the words of an inventory file; everything else is in the subpackages. They are imported
when they are first used, so that a command which needs none of them starts at once.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.inventory import pyinfra_hosts
    from deploy.words import (
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


# imports make many objects and no garbage: not looking for it saves a third of their time
gc.set_threshold(100_000)
# at its end Python would look once more among all that was imported, for 0.15 s
atexit.register(gc.freeze)

try:
    Path.home()
except RuntimeError:
    # a user without a name, as in some containers, and no HOME
    os.environ["HOME"] = "/"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # pyinfra switches this off for files that it runs, which have no bytecode anyway
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    from deploy import inventory, words

    return getattr(inventory if name == "pyinfra_hosts" else words, name)
