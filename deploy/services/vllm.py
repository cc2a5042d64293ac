"""vLLM: one model on GPUs or CPUs, behind an OpenAI-compatible API with a key.

Variables: https://docs.vllm.ai/en/latest/configuration/env_vars/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.container import HealthCheck, Mount, environment
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import gpu_access, gpu_shares, image_name, visible_devices
from deploy.services.health import http_check
from deploy.services.unit import Tier, Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.services.vllm_arguments import (
    CONTAINER_PORT,
    adapter_directories,
    arguments,
    model_directory,
)
from deploy.services.weights import OFFLINE, are_brought, cache_mount, host_weights
from deploy.spec import SecretName, SecretText

IMAGE = "vllm"
CPU_IMAGE = "vllm-cpu"
PORT = CONTAINER_PORT
HUGGINGFACE = PurePosixPath("/root/.cache/huggingface")
CACHE = PurePosixPath("/root/.cache/vllm")
"""What was compiled, kept from one container to the next."""
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
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica."""
    name = context.replica_name(IMAGE, replica)
    own = openai_upstream(context, replica, name, PORT, api="vllm")
    return replace(own, completes=not replica.embeds, adapters=tuple(replica.lora_adapters))


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    engine = replica.engine
    name = CPU_IMAGE if replica.cpu else image_name(replica, IMAGE)
    return Unit(
        host=replica.host,
        tier=Tier.ENGINE,
        serves=replica.served_model_name,
        image_name=name,
        start_timeout_seconds=engine.start_timeout_seconds,
        gpu_shares=gpu_shares(replica),
        weights=host_weights(context, replica, name),
        container=context.container(
            context.replica_name(IMAGE, replica),
            IMAGE,
            name,
            tmpfs=(),
            command=arguments(replica),
            env=_environment(replica),
            mounts=_mounts(context, replica),
            ports=context.published(replica, PORT),
            memory_bytes=replica.memory_limit_bytes,
            pids_limit=8192,
            stop_timeout_seconds=30,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health"),
                start_period_seconds=engine.start_timeout_seconds,
            ),
            # binds memory to the NUMA node of the cores that use it
            cap_add=("SYS_NICE",) if replica.cpu else (),
            ipc="host" if engine.ipc == "host" else "",
            shm_size_bytes=0 if engine.ipc == "host" else engine.shm_size,
            # pinned memory is for copies to GPUs
            ulimits={} if replica.cpu else {"memlock": -1, "stack": 67108864},
            **gpu_access(replica, context.host(replica)),
        ),
    )


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    offline = OFFLINE if replica.engine.offline or are_brought(replica) else {}
    return {
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        **{name: str(path) for name, path in CACHES.items()},
        **_device_variables(replica),
        **offline,
        **environment(replica.engine.env),
        "VLLM_API_KEY": SecretText.of(SecretName.ENGINE_API_KEY),
    }


def _device_variables(replica: ReplicaPlan) -> dict[str, str]:
    if replica.cpu:
        return {
            "VLLM_CPU_KVCACHE_SPACE": str(replica.cpu.kv_cache_space_gib),
            "VLLM_CPU_OMP_THREADS_BIND": replica.cpu.omp_threads_bind,
        }
    return {
        # as nvidia-smi counts them, where cards of several kinds are in one machine
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **visible_devices(replica, "HIP_VISIBLE_DEVICES"),
    }


def _mounts(context: ServiceContext, replica: ReplicaPlan) -> dict[PurePosixPath, Mount]:
    own, cache = context.plan.name, replica.engine.huggingface_cache
    mounts = {CACHE: Mount(kind="volume", source=context.replica_name(IMAGE, replica))}
    if are_brought(replica):
        mounts[HUGGINGFACE / "hub"] = cache_mount(context, replica)
    elif cache:
        mounts[HUGGINGFACE] = Mount(kind="bind", source=str(cache))
    else:
        mounts[HUGGINGFACE] = Mount(kind="volume", source=f"{own}-huggingface")
    directories = adapter_directories(replica)
    if replica.weights.directory:
        directories[model_directory(replica)] = replica.weights.directory
    for target, source in directories.items():
        mounts[target] = Mount(kind="bind", source=source, read_only=True)
    return mounts
