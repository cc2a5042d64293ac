"""What engines that load repositories of Hugging Face have in common: a container for a replica."""

from __future__ import annotations

from typing import Any

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.container_parts import HealthCheck
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import checked, gpu_shares, worker_access
from deploy.services.health import TIMEOUT_SECONDS, http_check
from deploy.services.host_files import CompileCache, ConfigTree
from deploy.services.routes import from_routers
from deploy.services.unit import Tier, Unit
from deploy.services.weights import host_weights

STOP_SECONDS = 30
"""How long one may take to end."""


def replica_unit(  # noqa: PLR0913
    context: ServiceContext,
    replica: ReplicaPlan,
    service: str,
    image: str,
    *,
    port: int,
    health_seconds: tuple[int, int] = (TIMEOUT_SECONDS, TIMEOUT_SECONDS + 1),
    config: ConfigTree | None = None,
    compiled: CompileCache | None = None,
    **own: Any,
) -> Unit:
    """The unit of a replica in a container.

    Args:
        context: the deployment.
        replica: the replica.
        service: the engine, as its containers are named.
        image: name of its image.
        port: what it listens on in the container.
        health_seconds: how long ``/health`` may take, and the whole check.
        config: its files.
        compiled: what it compiles and keeps.
        own: fields of the container that other engines do not have so.
    """
    engine, name = replica.engine, context.replica_name(service, replica)
    answer_seconds, check_seconds = health_seconds
    check = checked(replica, http_check(port, "/health", seconds=answer_seconds))
    return Unit(
        host=replica.host,
        tier=Tier.ENGINE,
        serves=replica.served_model_name,
        image_name=image,
        start_timeout_seconds=engine.start_timeout_seconds,
        route=from_routers(context, replica.served_model_name, name, port, *replica.lora_adapters),
        drain_seconds=engine.drain_seconds,
        gpu_shares=gpu_shares(replica),
        weights=host_weights(context, replica, image),
        compiled=compiled,
        config=config,
        runs=context.container(
            name,
            service,
            image,
            tmpfs=(),
            memory_bytes=replica.memory_limit_bytes,
            pids_limit=8192,
            stop_timeout_seconds=STOP_SECONDS,
            healthcheck=HealthCheck(
                command=check,
                timeout_seconds=check_seconds,
                start_period_seconds=engine.start_timeout_seconds,
            ),
            **worker_access(replica, context.host(replica)),
            **own,
        ),
    )
