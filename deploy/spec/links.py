"""Links: how requests go from one host to another, encrypted, and open to no one else."""

from __future__ import annotations

from pydantic import ByteSize, Field

from deploy.spec.base import MemoryLimit, Spec
from deploy.units import MIB


class LinksSpec(Spec):
    """What takes requests from one host of the deployment to another, encrypted: HAProxy."""

    port: int = Field(default=8443, ge=1, le=65535)
    """Port of each host with engines, routers or a web UI that are asked from another host; the
    only one that these need there."""
    memory_limit: MemoryLimit = ByteSize(256 * MIB)
    """Memory limit of each end's container, e.g. ``256MiB``; on a Mac, what the plan counts for
    it."""
    start_timeout_seconds: int = Field(default=60, ge=5, le=3600)
    """How long an end may take until it is healthy."""
