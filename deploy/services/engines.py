"""The engines by kind, and how a router reaches each replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services import llama_cpp, ollama, ollama_model, vllm
from deploy.services.component import Component
from deploy.services.context import ServiceContext
from deploy.spec.engine import EngineKind


@dataclass(frozen=True)
class Upstream:
    """A replica as the router sees it."""

    name: str
    """Name of its container."""
    model: str
    """What clients ask for."""
    provider: str
    """Name of its API in LiteLLM."""
    upstream_model: str
    """What the engine calls the model."""
    api_base: str
    has_key: bool
    """Whether it wants the engines' key."""
    completes: bool
    """Whether it continues text, and does not only chat."""


class EngineModule(Protocol):
    """What the module of an engine offers."""

    PORT: int
    """The port that it listens on in its container."""

    def component(self, context: ServiceContext, replica: ReplicaPlan) -> Component:
        """The container of one replica."""

    def container_name(self, context: ServiceContext, replica: ReplicaPlan) -> str:
        """Name of a replica's container."""


MODULES: dict[EngineKind, EngineModule] = {
    "llama_cpp": llama_cpp,
    "ollama": ollama,
    "vllm": vllm,
}


def component(context: ServiceContext, replica: ReplicaPlan) -> Component:
    """The container of one replica."""
    return MODULES[replica.engine.kind].component(context, replica)


def container_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of a replica's container."""
    return MODULES[replica.engine.kind].container_name(context, replica)


def container_port(replica: ReplicaPlan) -> int:
    """The port that a replica listens on in its container."""
    return MODULES[replica.engine.kind].PORT


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How the router reaches a replica: by its container's name, or at its host's address."""
    name, kind = container_name(context, replica), replica.engine.kind
    address = f"{name}:{container_port(replica)}"
    if replica.port is not None:
        address = f"{context.plan.host(replica.host).address}:{replica.port}"
    if kind == "ollama":
        return _ollama_upstream(context, replica, address)
    return Upstream(
        name=name,
        model=replica.served_model_name,
        provider={"vllm": "hosted_vllm"}.get(kind, "openai"),
        upstream_model=replica.served_model_name,
        api_base=f"http://{address}/v1",
        has_key=True,
        completes=True,
    )


def _ollama_upstream(context: ServiceContext, replica: ReplicaPlan, address: str) -> Upstream:
    """Through its own API to chat, with the model's own settings; it has no way to complete there.

    LiteLLM makes a chat of what clients ask ``ollama_chat`` to complete, and drops the suffix. Of
    ``openai`` it hands both on as they are, to ``/v1/completions`` and ``/v1/chat/completions``.
    """
    completes = ollama_model.completes(context, replica)
    return Upstream(
        name=container_name(context, replica),
        model=replica.served_model_name,
        provider="openai" if completes else "ollama_chat",
        upstream_model=ollama_model.model_name(replica),
        api_base=f"http://{address}/v1" if completes else f"http://{address}",
        has_key=False,
        completes=completes,
    )
