"""From the inventory's path to everything a verb needs."""

from __future__ import annotations

from pathlib import Path

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory


def load_artefacts(inventory: Path) -> Artefacts:
    """Read an inventory and plan its deployment.

    Raises:
        AtelierError: if either is not possible.
    """
    declared = load_inventory(inventory)
    return make_artefacts(declared.spec, declared.directory)
