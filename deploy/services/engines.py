"""The engines by kind, and how a router reaches each replica."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, get_args

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services import llama_cpp, ollama, sglang, tensorrt_llm, tgi, vllm
from deploy.services.context import ServiceContext
from deploy.services.unit import Unit
from deploy.services.upstream import Upstream
from deploy.spec.engine_kinds import EngineKind


class EngineModule(Protocol):
    """What the module of an engine offers."""

    PORT: int
    """The port that it listens on in its container."""

    def units(self, context: ServiceContext) -> Iterator[Unit]:
        """Its units in a deployment; none where no model is served by it."""

    def upstream(self, context: ServiceContext, replica: ReplicaPlan) -> Upstream:
        """How a router reaches a replica."""


MODULES: dict[EngineKind, EngineModule] = {
    "llama_cpp": llama_cpp,
    "ollama": ollama,
    "sglang": sglang,
    "tensorrt_llm": tensorrt_llm,
    "tgi": tgi,
    "vllm": vllm,
}

SERVICES = frozenset(kind.replace("_", "-") for kind in get_args(EngineKind))
"""What engines are called on what runs, e.g. ``llama-cpp``."""


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica."""
    return MODULES[replica.engine.kind].upstream(context, replica)


def container_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of a replica's container."""
    reached = upstream(context, replica)
    return reached.container or reached.name


def container_port(replica: ReplicaPlan) -> int:
    """The port that a replica listens on in its container."""
    return MODULES[replica.engine.kind].PORT
