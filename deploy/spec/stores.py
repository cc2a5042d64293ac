"""Stores: PostgreSQL for what must be kept, Valkey for what routers agree on each second."""

from __future__ import annotations

from pydantic import ByteSize, Field

from deploy.spec.base import MemoryLimit, Spec
from deploy.spec.secrets import SecretSource
from deploy.units import GIB, MIB


class StoreSpec(Spec):
    """A service that keeps what others must not lose; never published on the host."""

    memory_limit: MemoryLimit
    """Memory limit of the container, e.g. ``1GiB``."""
    start_timeout_seconds: int = Field(default=180, ge=5, le=7200)
    """How long the container may take until it is healthy."""


class PostgresSpec(StoreSpec):
    """One server with a database for each service that has one; or databases of your own."""

    memory_limit: MemoryLimit = ByteSize(GIB)
    """Memory limit of the container, e.g. ``1GiB``; a quarter of it is for shared buffers."""
    max_connections: int = Field(default=100, ge=40, le=10_000)
    """How many connections it takes; a router uses 10."""
    web_ui: bool = True
    """Whether the web UI keeps its data there, too; if not, in SQLite in a volume of its own."""
    router_database_url: SecretSource | None = None
    """The router's database on a server of your own; the secret is its address, e.g.
    ``postgresql://name:password@db.lab:5432/litellm``."""
    web_ui_database_url: SecretSource | None = None
    """The web UI's database on a server of your own."""

    @property
    def has_router(self) -> bool:
        """Whether the router's database is on the server that is deployed."""
        return self.router_database_url is None

    @property
    def has_web_ui(self) -> bool:
        """Whether the web UI's database is on the server that is deployed, if there is one."""
        return self.web_ui and self.web_ui_database_url is None


class ValkeySpec(StoreSpec):
    """A server for limits, spending and routing state; or one of your own."""

    memory_limit: MemoryLimit = ByteSize(256 * MIB)
    """Memory limit of the container, e.g. ``256MiB``."""
    url: SecretSource | None = None
    """A server of your own that speaks Redis' protocol; the secret is its address, e.g.
    ``redis://:password@cache.lab:6379/0``."""
