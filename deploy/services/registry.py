"""Every system that can be deployed, in the order in which they are looked through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from deploy.services import (
    aristote,
    certbot,
    haproxy,
    links,
    listener,
    litellm,
    llama_cpp,
    ollama,
    open_webui,
    postgres,
    rabbitmq,
    sglang,
    tensorrt_llm,
    tgi,
    valkey,
    vllm,
)
from deploy.services.context import ServiceContext
from deploy.services.unit import Unit


class ServiceModule(Protocol):
    """What the module of a system offers."""

    def units(self, context: ServiceContext) -> Iterator[Unit]:
        """Its units in a deployment; none where the plan does without it."""


SERVICES: dict[str, ServiceModule] = {
    "postgres": postgres,
    "valkey": valkey,
    "rabbitmq": rabbitmq,
    "llama_cpp": llama_cpp,
    "ollama": ollama,
    "sglang": sglang,
    "tensorrt_llm": tensorrt_llm,
    "tgi": tgi,
    "vllm": vllm,
    "links": links,
    "aristote": aristote,
    "litellm": litellm,
    "open_webui": open_webui,
    "certbot": certbot,
    "listener": listener,
    "haproxy": haproxy,
}
