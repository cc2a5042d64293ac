"""Every system that can be deployed, in the order in which they are looked through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from deploy.services import (
    aristote,
    certbot,
    engines,
    haproxy,
    links,
    listener,
    litellm,
    open_webui,
    postgres,
    rabbitmq,
    valkey,
)
from deploy.services.context import ServiceContext
from deploy.services.unit import Unit


class ServiceModule(Protocol):
    """What the module of a system offers."""

    def units(self, context: ServiceContext) -> Iterator[Unit]:
        """Its units in a deployment; none where the plan does without it."""


SERVICES: tuple[ServiceModule, ...] = (
    postgres,
    valkey,
    rabbitmq,
    *engines.MODULES.values(),
    links,
    aristote,
    litellm,
    open_webui,
    certbot,
    listener,
    haproxy,
)
