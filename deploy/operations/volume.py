"""Volumes: what must survive a container."""

from __future__ import annotations

from pyinfra.api import operation

from deploy.operations.commands import Commands
from deploy.operations.resource import create_missing


@operation()
def present(volumes: list[str], deployment: str) -> Commands:
    """The volumes exist and belong to the deployment."""
    yield from create_missing("volume", volumes, deployment)
