"""The deployment that pyinfra is working on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pyinfra import host

from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import InventoryFileError, PlanError, Problem
from deploy.inventory import Declared, errors_for_operators
from deploy.operations import sudo
from deploy.spec import DeploymentSpec


def current_deployment(*, unlock_sudo: bool = True) -> Artefacts:
    """Everything that the inventory's deployment consists of; the same for all its hosts.

    Args:
        unlock_sudo: whether sudo on the host must let this user in, where it is declared.
    """
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
        artefacts = _artefacts(declared)
        if unlock_sudo and artefacts.host(host.name).sudo:
            sudo.unlock()
        return artefacts


@cache
def _artefacts(declared: Declared) -> Artefacts:
    problems = list(_not_deployed_yet(declared.spec))
    if problems:
        raise PlanError(*problems)
    return make_artefacts(declared.spec, declared.directory)


def _not_deployed_yet(spec: DeploymentSpec) -> Iterator[Problem]:
    """What this version plans and renders, but does not deploy."""
    if len(spec.hosts) > 1:
        yield Problem(
            "hosts",
            f"{len(spec.hosts)} hosts",
            "one host",
            "this version plans several hosts, but deploys to one: declare only that one",
        )
