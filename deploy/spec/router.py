"""The router: one address and one key for every model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ByteSize, Field

from deploy.spec.base import MemoryLimit
from deploy.spec.endpoint import EndpointSpec
from deploy.units import GIB

RouterKind = Literal["litellm"]


class RouterSpec(EndpointSpec):
    """How requests reach the engines."""

    own_variables: ClassVar[dict[str, str]] = {
        "LITELLM_MASTER_KEY": "secrets={'router_master_key': Secret(...)}",
        "ENGINE_API_KEY": "secrets={'engine_api_key': Secret(...)}",
        "DATABASE_URL": "postgres=Postgres(router_database_url=Secret(...))",
        "LITELLM_SALT_KEY": "secrets={'router_salt_key': Secret(...)}",
        "REDIS_URL": "valkey=Valkey(url=Secret(...))",
    }

    kind: RouterKind = "litellm"
    """Which router."""
    host: str | None = None
    """Name of the host that it runs on; the first by default."""
    replicas: int = Field(default=1, ge=1, le=16)
    """How many of it run; of several, they are changed one after the other."""
    port: int = Field(default=4000, ge=1, le=65535)
    """Port on the host."""
    memory_limit: MemoryLimit = ByteSize(2 * GIB)
    """Memory limit of the container, e.g. ``2GiB``."""
    num_retries: int = Field(default=2, ge=0, le=10)
    """How often a failed request is sent again, to another replica where there is one."""
    request_timeout_seconds: int = Field(default=600, ge=1, le=7200)
    """How long a whole request may take."""
    stream_timeout_seconds: int | None = Field(default=None, ge=1, le=7200)
    """How long a stream may be silent, until its first token and after it; 60 for a model on GPUs
    and 300 for one on a CPU, unless set."""
