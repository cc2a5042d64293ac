"""vLLM: one model on GPUs or CPUs, behind an OpenAI-compatible API with a key.

Variables: https://docs.vllm.ai/en/latest/configuration/env_vars/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.replica_plan import ReplicaPlan
from deploy.render import TEMPLATES
from deploy.services.compiled import caches_of
from deploy.services.container import HOST_NETWORK, environment
from deploy.services.container_parts import Mount, Port
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import (
    checked,
    gpu_variables,
    image_name,
)
from deploy.services.hang_watch import files, watched
from deploy.services.health import http_check
from deploy.services.host_files import CompileCache, ConfigFile, ConfigTree
from deploy.services.hub_engine import replica_unit
from deploy.services.unit import Tier, Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.services.vllm_arguments import CONTAINER_PORT, Node, adapter_directories, arguments
from deploy.services.weights import weights_mounts, weights_variables
from deploy.spec import SecretName, SecretText

IMAGE = "vllm"
CPU_IMAGE = "vllm-cpu"
PORT = CONTAINER_PORT
CONFIG = PurePosixPath("/etc/atelier")
NODE = "node.py"
"""What runs vLLM on one of several hosts, and ends it when another one is gone."""
CACHE = PurePosixPath("/root/.cache/vllm")
"""What was compiled, kept from one container to the next, and shared by the replicas of a host.

Two that compile at the same time would be in each other's way: files are replaced whole, but of a
name with the number of the process in it, which containers have in common. Replicas of a model
start one after the other on a host, see deploy/changes/order.py.
"""
CACHES = {
    "VLLM_CACHE_ROOT": CACHE,
    # else below ~/.triton, ~/.cache/flashinfer and ~/.nv, which go with the container
    "TRITON_CACHE_DIR": CACHE / "triton",
    "FLASHINFER_WORKSPACE_BASE": CACHE / "flashinfer",
    "CUDA_CACHE_PATH": CACHE / "cuda",
}
"""Where each compiler keeps what it made; torch's own goes where vLLM's does."""


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("vllm"):
        if replica.other_hosts:
            yield from _wide_units(context, replica)
        else:
            yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica."""
    name = context.replica_name(IMAGE, replica)
    own = openai_upstream(context, replica, name, PORT, api="vllm")
    return replace(own, completes=replica.writes, adapters=tuple(replica.lora_adapters))


def cache_volume(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of the volume with what the replicas of a model compiled on a host."""
    return f"{caches_of(context.plan.name, IMAGE)}{replica.model}"


def _wide_units(context: ServiceContext, replica: ReplicaPlan) -> Iterator[Unit]:
    """A unit for each host of a replica; they meet before the first one is healthy.

    What they say to each other is on ports that no one can know before: they are in the networks
    of their hosts.
    """
    master = context.host(replica).address
    for rank, host in enumerate(replica.hosts):
        own = replica.model_copy(update={"host": host, "other_hosts": ()})
        node = Node(rank, context.host(own).address, master)
        yield _on_node(context, replica, node, _unit(context, own))


def _on_node(context: ServiceContext, replica: ReplicaPlan, node: Node, unit: Unit) -> Unit:
    """A unit as one of several of its replica.

    Those that answer nothing are healthy while they run: they wait for the first one, and the
    program that runs them ends them when that is gone.
    """
    asked, runs = unit.name, unit.container
    watching = {} if node.rank else files(replica)
    program = {NODE: ConfigFile(content=_program()), **watching}
    config = context.config_tree(unit.host, IMAGE, program)
    watch = () if node.rank else watched(replica, CONFIG, replica.port or PORT, node.address)
    name = f"{asked}-node-{node.rank}" if node.rank else asked
    check = "true" if node.rank else http_check(replica.port or PORT, "/health", node.address)
    route = unit.route and unit.route.model_copy(
        update={
            "port": replica.port,
            "asked_on": replica.host,
            "stands_behind": asked if node.rank else "",
        }
    )
    ports = () if node.rank else (replica.port, replica.master_port)
    places = map(str, (node.address, node.master, replica.master_port, len(replica.hosts)))
    container = runs.model_copy(
        update={
            "name": name,
            "entrypoint": "python3",
            "command": (
                *(str(CONFIG / NODE), *places, str(node.rank)),
                *(*watch, "vllm", "serve", *arguments(replica, node)),
            ),
            "network": HOST_NETWORK,
            "env": {**runs.env, "VLLM_HOST_IP": node.address},
            "mounts": {**runs.mounts, CONFIG: _mount(config)},
            "ports": tuple(
                Port(host_ip=node.address, host_port=port, container_port=port)
                for port in ports
                if port
            ),
            "healthcheck": runs.healthcheck.model_copy(update={"command": checked(replica, check)}),
        }
    )
    return unit.model_copy(
        update={
            "tier": Tier.NODE if node.rank else Tier.ENGINE,
            "serves": name if node.rank else unit.serves,
            "runs": container,
            "config": config,
            "route": route,
            "replica": asked,
            # each of them compiles its own stage
            "compiled": None,
        }
    )


def _program() -> str:
    return (TEMPLATES / "vllm" / NODE).read_text()


def _mount(config: ConfigTree) -> Mount:
    return Mount(kind="bind", source=str(config.directory), read_only=True)


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    watching = files(replica)
    config = context.config_tree(replica.host, IMAGE, watching) if watching else None
    return replica_unit(
        context,
        replica,
        IMAGE,
        CPU_IMAGE if replica.cpu else image_name(replica, IMAGE),
        port=PORT,
        config=config,
        compiled=CompileCache(
            volume=cache_volume(context, replica),
            directory=CACHE,
            gpus=tuple(context.host(replica).gpu_names[index] for index in replica.gpus),
        ),
        **_started(replica),
        env=_environment(replica),
        mounts=_mounts(context, replica) | ({CONFIG: _mount(config)} if config else {}),
    )


def _started(replica: ReplicaPlan) -> dict[str, Any]:
    """What the container runs: vLLM alone, or what watches over it."""
    watch = watched(replica, CONFIG, PORT)
    if not watch:
        return {"command": arguments(replica)}
    program, *rest = watch
    return {"entrypoint": program, "command": (*rest, "vllm", "serve", *arguments(replica))}


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    return {
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        **{name: str(path) for name, path in CACHES.items()},
        **_device_variables(replica),
        **weights_variables(replica),
        **environment(replica.engine.env),
        "VLLM_API_KEY": SecretText.of(SecretName.ENGINE_API_KEY),
    }


def _device_variables(replica: ReplicaPlan) -> dict[str, str]:
    if replica.cpu:
        return {
            "VLLM_CPU_KVCACHE_SPACE": str(replica.cpu.kv_cache_space_gib),
            "VLLM_CPU_OMP_THREADS_BIND": replica.cpu.omp_threads_bind,
        }
    return gpu_variables(replica)


def _mounts(context: ServiceContext, replica: ReplicaPlan) -> dict[PurePosixPath, Mount]:
    volume = Mount(kind="volume", source=cache_volume(context, replica))
    mounts = {CACHE: volume, **weights_mounts(context, replica)}
    for target, source in adapter_directories(replica).items():
        mounts[target] = Mount(kind="bind", source=source, read_only=True)
    return mounts
