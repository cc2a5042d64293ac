"""What all stores have in common."""

from __future__ import annotations

from pydantic import Field

from deploy.spec.base import MemoryLimit, Spec


class StoreSpec(Spec):
    """A service that keeps what others must not lose; never published on the host."""

    memory_limit: MemoryLimit
    """Memory limit of the container, e.g. ``1GiB``."""
    start_timeout_seconds: int = Field(default=180, ge=5, le=7200)
    """How long the container may take until it is healthy."""
