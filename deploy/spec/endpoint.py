"""What every service that faces users has in common."""

from __future__ import annotations

from ipaddress import IPv4Address

from pydantic import Field

from deploy.spec.base import MemoryLimit, Spec


class EndpointSpec(Spec):
    """A service with a port of its own."""

    listen: IPv4Address = IPv4Address("127.0.0.1")
    """Address of the host that the port is bound to; ``0.0.0.0`` for every interface."""
    port: int = Field(ge=1, le=65535)
    """Port on the host."""
    memory_limit: MemoryLimit
    """Memory limit of the container, e.g. ``1GiB``."""
    start_timeout_seconds: int = Field(default=180, ge=5, le=7200)
    """How long the container may take until it is healthy."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables added to the container."""
