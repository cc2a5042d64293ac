"""An engine as a router sees it: which API it speaks, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.plan.addresses import host_and_port
from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.context import ServiceContext
from deploy.services.routes import linked_address

Api = Literal["vllm", "openai", "ollama"]
"""``vllm``: OpenAI's with vLLM's own additions, as SGLang has it, too; ``ollama``: Ollama's own, to
chat only."""


@dataclass(frozen=True)
class Upstream:
    """A replica as the router sees it."""

    name: str
    """What routers call it: name of its container, with the model's where that serves others."""
    model: str
    """What clients ask for."""
    api: Api
    """Which API it is asked through."""
    upstream_model: str
    """What the engine calls the model."""
    address: str
    """Host and port, as the router's host reaches them; through a link, with a path."""
    has_key: bool
    """Whether it wants the engines' key."""
    completes: bool
    """Whether it continues text, and does not only chat or make embeddings."""
    has_responses: bool = True
    """Whether it speaks OpenAI's newer API, ``/v1/responses``, where it speaks any of theirs."""
    adapters: tuple[str, ...] = ()
    """Names under which it serves variants of the model, too."""
    container: str = ""
    """Name of its container; empty where routers call it so."""


def openai_upstream(
    context: ServiceContext, replica: ReplicaPlan, name: str, port: int, *, api: Api = "openai"
) -> Upstream:
    """An engine that speaks OpenAI's API, wants a key, and calls the model what clients do.

    Args:
        context: the deployment.
        replica: the replica.
        name: name of its container.
        port: the port that it listens on in its container.
        api: which API exactly.
    """
    return Upstream(
        name=name,
        model=replica.served_model_name,
        api=api,
        upstream_model=replica.served_model_name,
        address=address(context, replica, name, port),
        has_key=True,
        completes=True,
    )


def address(context: ServiceContext, replica: ReplicaPlan, name: str, port: int) -> str:
    """Where the router reaches a replica: by its container's name, a link, or its host's address.

    Args:
        context: the deployment.
        replica: the replica.
        name: name of its container.
        port: the port that it listens on in its container.
    """
    if replica.is_linked:
        return linked_address(context, context.plan.router.host, name)
    if replica.port is None:
        return f"{name}:{port}"
    return host_and_port(context.host(replica).address, replica.port)
