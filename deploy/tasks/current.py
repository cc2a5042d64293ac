"""The deployment that pyinfra is working on."""

from __future__ import annotations

from functools import cache

from pyinfra import host

from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import InventoryFileError, PlanError, Problem
from deploy.inventory import Declared, errors_for_operators


def current_deployment() -> Artefacts:
    """Everything that the inventory's deployment consists of; the same for all its hosts."""
    with errors_for_operators():
        declared = host.data.get("atelier")
        if not isinstance(declared, Declared):
            raise InventoryFileError(
                Problem(
                    host.name,
                    "no deployment is declared for this host",
                    "an inventory that ends with: hosts = pyinfra_hosts(deployment, __file__)",
                )
            )
        return _artefacts(declared)


@cache
def _artefacts(declared: Declared) -> Artefacts:
    if len(declared.spec.hosts) > 1:
        raise PlanError(
            Problem(
                "hosts",
                f"{len(declared.spec.hosts)} hosts",
                "one host",
                "this version plans several hosts, but deploys to one: declare only that one",
            )
        )
    return make_artefacts(declared.spec, declared.directory)
