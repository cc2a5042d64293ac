"""Valkey: what several routers must agree on from second to second."""

from __future__ import annotations

from pydantic import ByteSize

from deploy.spec.base import MemoryLimit
from deploy.spec.secrets import SecretSource
from deploy.spec.stores import StoreSpec
from deploy.units import MIB


class ValkeySpec(StoreSpec):
    """A server for limits, spending and routing state; or one of your own."""

    memory_limit: MemoryLimit = ByteSize(256 * MIB)
    """Memory limit of the container, e.g. ``256MiB``."""
    url: SecretSource | None = None
    """A server of your own that speaks Redis' protocol; the secret is its address, e.g.
    ``redis://:password@cache.lab:6379/0``."""
