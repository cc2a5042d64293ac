"""The network that a deployment's containers share on a host."""

from __future__ import annotations

from pyinfra.api import operation

from deploy.operations.commands import Commands
from deploy.operations.resource import create_missing


@operation()
def present(network: str, deployment: str) -> Commands:
    """The network exists and belongs to the deployment."""
    yield from create_missing("network", [network], deployment)
