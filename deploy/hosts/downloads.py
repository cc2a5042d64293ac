"""Weights that engines fetch themselves, into volumes of Docker, when they first start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services import ServiceContext, engines
from deploy.units import GIB


@dataclass(frozen=True)
class Download:
    """The weights of one model, once for each store that they are kept in."""

    what: str
    size_bytes: int
    """About: what the weights take of the memory of GPUs."""
    volumes: frozenset[str]
    """Volumes of its engines: where one of them is, the engine has run and fetched them."""


def downloads_on(host: str, context: ServiceContext) -> tuple[Download, ...]:
    """What the engines of a host fetch: vLLM into one volume for all, Ollama into its own."""
    stores: dict[str, list[ReplicaPlan]] = {}
    for replica in context.plan.replicas:
        if replica.host == host and replica.memory:
            for name in _store(context, replica):
                stores.setdefault(name, []).append(replica)
    return tuple(
        Download(
            f"weights of {replicas[0].model}",
            _weights_bytes(replicas[0]),
            frozenset(engines.container_name(context, replica) for replica in replicas),
        )
        for replicas in stores.values()
    )


def _store(context: ServiceContext, replica: ReplicaPlan) -> Iterator[str]:
    """What is fetched and where to, as one text; nothing where the weights are the operator's."""
    weights, engine = replica.weights, replica.engine
    if weights.tag:
        yield engines.container_name(context, replica)
    elif weights.repository and not engine.offline and engine.huggingface_cache is None:
        yield weights.repository


def _weights_bytes(replica: ReplicaPlan) -> int:
    gpus = replica.tensor_parallel_size * replica.pipeline_parallel_size
    weights_gib = replica.memory.weights_gib if replica.memory else 0
    return round(weights_gib * gpus * GIB)
