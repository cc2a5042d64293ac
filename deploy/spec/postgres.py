"""PostgreSQL: the keys and the use of the router, the users and the chats of the web UI."""

from __future__ import annotations

from pydantic import ByteSize, Field

from deploy.spec.base import MemoryLimit
from deploy.spec.secrets import SecretSource
from deploy.spec.stores import StoreSpec
from deploy.units import GIB


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
