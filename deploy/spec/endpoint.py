"""What every service that faces users has in common."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import ClassVar

from pydantic import Field, field_validator

from deploy.spec.base import ListenAddress, MemoryLimit, Spec
from deploy.spec.secrets import EnvironmentValue, refuse_own_variables, refuse_plain_secrets


class EndpointSpec(Spec):
    """A service with a port of its own."""

    listen: ListenAddress = IPv4Address("127.0.0.1")
    """Address of the host that the port is bound to; ``0.0.0.0`` for every interface."""
    port: int = Field(ge=1, le=65535)
    """Port on the host."""
    memory_limit: MemoryLimit
    """Memory limit of the container, e.g. ``1GiB``."""
    start_timeout_seconds: int = Field(default=180, ge=5, le=7200)
    """How long the container may take until it is healthy."""
    env: dict[str, EnvironmentValue] = Field(default_factory=dict)
    """Environment variables added to the container; secrets as ``Secret(...)``."""

    own_variables: ClassVar[dict[str, str]] = {}
    """Environment variables that Atelier sets, and the setting to declare instead."""

    @field_validator("env")
    @classmethod
    def _env_is_the_operators(cls, env: dict[str, EnvironmentValue]) -> dict[str, EnvironmentValue]:
        return refuse_plain_secrets(refuse_own_variables(env, cls.own_variables))
