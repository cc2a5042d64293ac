"""Weights that Ollama fetches itself, when it first starts, into a volume or a directory."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services import ServiceContext, engines
from deploy.units import GIB


@dataclass(frozen=True)
class Download:
    """The weights of one model in the store of one engine."""

    what: str
    size_bytes: int
    """About: what the weights take of the memory of GPUs."""
    volume: str
    """Name of the engine, and of its volume: where its store is, it has run and fetched them."""


def downloads_on(host: str, context: ServiceContext) -> tuple[Download, ...]:
    """What the engines of a host fetch, each into its own volume."""
    return tuple(
        Download(
            f"weights of {replica.model}",
            _weights_bytes(replica),
            engines.container_name(context, replica),
        )
        for replica in context.plan.replicas
        if replica.host == host and replica.memory and replica.weights.tag
    )


def _weights_bytes(replica: ReplicaPlan) -> int:
    gpus = replica.tensor_parallel_size * replica.pipeline_parallel_size
    weights_gib = replica.memory.weights_gib if replica.memory else 0
    return round(weights_gib * gpus * GIB)
