"""Aristote Dispatcher: how its queues and consumers are set.

Variables: https://github.com/CentraleSupelec/aristote-dispatcher, ``src/sender/settings.py`` and
``src/consumer/settings.py`` of v1.4.3
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import ByteSize, Field, field_validator

from deploy.spec.base import MemoryLimit, Spec, refusal
from deploy.units import MIB

RoutingStrategy = Literal["least-busy", "round-robin"]
RoutingMode = Literal["any", "private-first", "private-only"]
ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
HIGHEST_PRIORITY = 5


class AristoteSpec(Spec):
    """Settings that only Aristote has; each has a default."""

    own_variables: ClassVar[dict[str, str]] = {
        "ATELIER_ACCOUNT": "router=Router(aristote=Aristote(priority=..., threshold=...))",
        "ATELIER_MASTER_KEY": "secrets={'router_master_key': Secret(...)}",
        "DATABASE_URL": "postgres=Postgres(router_database_url=Secret(...))",
        "LOG_LEVEL": "",
        "MESSAGE_TIMEOUT": "router=Router(aristote=Aristote(queue_timeout_seconds=...))",
        "MODEL_HOST_MAPPING": "router=Router(aristote=Aristote(organizations={...}))",
        "PGCONNECT_TIMEOUT": "",
        "PROXY_CLIENT_REQUEST_TIMEOUT": "router=Router(request_timeout_seconds=...)",
        "RABBITMQ_HOST": "",
        "RABBITMQ_MANAGEMENT_PORT": "",
        "RABBITMQ_PASSWORD": "secrets={'rabbitmq_password': Secret(...)}",
        "RABBITMQ_PORT": "",
        "RABBITMQ_USER": "",
    }
    """Environment variables of the sender that Atelier sets, and what to declare instead. Aristote
    reads them in small letters, too: https://docs.pydantic.dev/latest/concepts/pydantic_settings/
    (case sensitivity)."""

    organization: str = "atelier"
    """Organisation of every host that ``organizations`` does not name, and of the master key."""
    organizations: dict[str, str] = Field(default_factory=dict)
    """Organisation of hosts with engines, by name of the host, e.g. ``{"gpu1": "physics"}``. A
    request with ``"routing-mode": "private-first"`` or ``"private-only"`` goes to the engines of
    its sender's organisation."""
    routing_strategy: RoutingStrategy = "round-robin"
    """How a replica is chosen; ``least-busy`` reads vLLM's metrics, and needs two replicas of
    vLLM."""
    max_parallel_requests: int | None = Field(default=None, ge=1, le=100_000)
    """Requests that one replica is given at the same time, others wait in the queue; ``None`` for
    no limit. Priorities of 4 and 5 pass it."""
    priority: int = Field(default=3, ge=1, le=HIGHEST_PRIORITY)
    """Priority of the master key's requests, from 1 to 5; higher ones leave the queue first. The
    field ``priority`` of a request can only lower it."""
    threshold: int = Field(default=1000, ge=0, le=1_000_000)
    """How many messages may wait in a model's queue before a request of the master key is refused
    with 503."""
    routing_mode: RoutingMode = "any"
    """Whose engines the master key's requests go to where a request does not say."""
    queue_timeout_seconds: int = Field(default=120, ge=1, le=570)
    """How long a request may wait in the queue before it is refused with 503."""
    consumer_memory_limit: MemoryLimit = ByteSize(256 * MIB)
    """Memory limit of each consumer, of which every model has one."""
    rabbitmq_memory_limit: MemoryLimit = ByteSize(512 * MIB)
    """Memory limit of RabbitMQ; it takes no more messages at half of it."""

    @field_validator("organization")
    @classmethod
    def _organization_is_plain(cls, organization: str) -> str:
        return _plain(organization)

    @field_validator("organizations")
    @classmethod
    def _organizations_are_plain(cls, organizations: dict[str, str]) -> dict[str, str]:
        return {host: _plain(name) for host, name in organizations.items()}

    def organization_of(self, host: str) -> str:
        """Whose the engines of a host are."""
        return self.organizations.get(host, self.organization)


def _plain(organization: str) -> str:
    """Queues are called after organisations."""
    if not ORGANIZATION.fullmatch(organization):
        raise refusal(repr(organization), "at most 63 letters, digits, dots, hyphens, underscores")
    return organization
