"""The deployment that pyinfra is working on."""

from __future__ import annotations

from functools import cache
from threading import Lock

from pyinfra import host

from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import InventoryFileError, Problem
from deploy.inventory import Declared
from deploy.operations import sudo
from deploy.spec import HostSpec
from deploy.words import errors_for_operators

ONE_AT_A_TIME = Lock()
"""pyinfra prepares its hosts in parallel, and secrets must not be made up for each of them."""


def current_deployment(*, unlock_sudo: bool = True) -> Artefacts:
    """Everything that the inventory's deployment consists of; the same for all its hosts.

    Args:
        unlock_sudo: whether sudo on the host must let this user in, where it is declared.
    """
    with errors_for_operators():
        declared = _declared()
        with ONE_AT_A_TIME:
            artefacts = _artefacts(declared)
        if unlock_sudo:
            _unlock(artefacts.host(host.name))
        return artefacts


def current_host() -> tuple[str, HostSpec]:
    """Name of the deployment, and the host as declared; nothing is planned, no secret looked at.

    What is there can be removed although it could not be deployed any more.
    """
    with errors_for_operators():
        spec = _declared().spec
        own = next(each for each in spec.hosts if each.name == host.name)
        _unlock(own)
        return spec.name, own


def _declared() -> Declared:
    declared = host.data.get("atelier")
    if not isinstance(declared, Declared):
        raise InventoryFileError(
            Problem(
                host.name,
                "no deployment is declared for this host",
                "an inventory that ends with: hosts = pyinfra_hosts(deployment, __file__)",
            )
        )
    return declared


def _unlock(declared: HostSpec) -> None:
    if declared.sudo:
        sudo.unlock()


@cache
def _artefacts(declared: Declared) -> Artefacts:
    return make_artefacts(declared.spec, declared.directory)
