"""The engines by kind, and how a router reaches each replica."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services import llama_cpp, ollama, vllm
from deploy.services.component import Component
from deploy.services.context import ServiceContext


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


def component(context: ServiceContext, replica: ReplicaPlan) -> Component:
    """The container of one replica."""
    match replica.engine.kind:
        case "vllm":
            return vllm.component(context, replica)
        case "ollama":
            return ollama.component(context, replica)
        case _:
            return llama_cpp.component(context, replica)


def container_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of a replica's container."""
    match replica.engine.kind:
        case "vllm":
            return vllm.container_name(context, replica)
        case "ollama":
            return ollama.container_name(context, replica)
        case _:
            return llama_cpp.container_name(context, replica)


def container_port(replica: ReplicaPlan) -> int:
    """The port that a replica listens on in its container."""
    return {"vllm": vllm.PORT, "ollama": ollama.PORT}.get(replica.engine.kind, llama_cpp.PORT)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How the router reaches a replica: by its container's name, or at its host's address."""
    name, kind = container_name(context, replica), replica.engine.kind
    address = f"{name}:{container_port(replica)}"
    if replica.port is not None:
        address = f"{context.plan.host(replica.host).address}:{replica.port}"
    providers = {"vllm": "hosted_vllm", "ollama": "ollama_chat"}
    is_ollama = kind == "ollama"
    return Upstream(
        name=name,
        model=replica.served_model_name,
        provider=providers.get(kind, "openai"),
        upstream_model=ollama.model_name(replica) if is_ollama else replica.served_model_name,
        api_base=f"http://{address}" if is_ollama else f"http://{address}/v1",
        has_key=not is_ollama,
    )
