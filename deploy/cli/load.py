"""From the inventory's path to everything a verb needs."""

from __future__ import annotations

from pathlib import Path

from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import InventoryFileError, Problem
from deploy.inventory import load_inventory
from deploy.spec import HostSpec


def load_artefacts(inventory: Path) -> Artefacts:
    """Read an inventory and plan its deployment.

    Raises:
        AtelierError: if either is not possible.
    """
    declared = load_inventory(inventory)
    return make_artefacts(declared.spec, declared.directory)


def load_hosts(inventory: Path, only: str | None = None) -> tuple[str, tuple[HostSpec, ...]]:
    """Name of the deployment and its hosts; nothing is planned and no secret is looked at.

    Args:
        inventory: the inventory file.
        only: name of the one host that is wanted.

    Raises:
        AtelierError: if the inventory cannot be read, or has no such host.
    """
    spec = load_inventory(inventory).spec
    if only is None:
        return spec.name, spec.hosts
    hosts = tuple(host for host in spec.hosts if host.name == only)
    if not hosts:
        declared = ", ".join(host.name for host in spec.hosts)
        raise InventoryFileError(Problem("--host", f"{only!r} is not in the inventory", declared))
    return spec.name, hosts
