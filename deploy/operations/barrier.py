"""A point that no host passes before every other host has reached it."""

from __future__ import annotations

from pyinfra.api import operation

from deploy.operations.commands import Commands


@operation()
def reached() -> Commands:
    """Every host has finished the operations above: pyinfra runs operations one after another."""
    return
    yield
