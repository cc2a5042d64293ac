"""vLLM: one model on GPUs, behind an OpenAI-compatible API with a key.

Flags: https://docs.vllm.ai/en/latest/cli/serve/
Variables: https://docs.vllm.ai/en/latest/configuration/env_vars/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.container import HealthCheck, Mount, environment
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import gpu_access, gpu_shares, image_name, visible_devices
from deploy.services.health import http_check
from deploy.services.unit import Tier, Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.services.weights import OFFLINE, are_brought, cache_mount, host_weights
from deploy.spec import SecretName, SecretText

IMAGE = "vllm"
PORT = 8000
MODELS = PurePosixPath("/models")
HUGGINGFACE = PurePosixPath("/root/.cache/huggingface")
CACHE = PurePosixPath("/root/.cache/vllm")
"""Compiled graphs, kept from one container to the next."""


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("vllm"):
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica."""
    name = context.replica_name(IMAGE, replica)
    return openai_upstream(context, replica, name, PORT, api="vllm")


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    name, engine = image_name(replica, IMAGE), replica.engine
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
            ipc="host" if engine.ipc == "host" else "",
            shm_size_bytes=0 if engine.ipc == "host" else engine.shm_size,
            ulimits={"memlock": -1, "stack": 67108864},
            **gpu_access(replica, context.host(replica)),
        ),
    )


def arguments(replica: ReplicaPlan) -> tuple[str, ...]:
    """The arguments of ``vllm serve``, the image's entry point.

    What sizing worked out is said explicitly: defaults changed between releases.
    """
    engine, weights = replica.engine, replica.weights
    optional = {
        "--revision": weights.revision,
        "--quantization": replica.quantization,
        "--max-num-batched-tokens": engine.max_num_batched_tokens,
        "--kv-cache-memory-bytes": replica.memory and replica.memory.pinned_kv_cache_bytes,
    }
    return (
        str(_model_directory(replica)) if weights.directory else str(weights.repository),
        *("--served-model-name", replica.served_model_name),
        *("--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - inside the container
        *("--tensor-parallel-size", str(replica.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(replica.pipeline_parallel_size)),
        *("--gpu-memory-utilization", f"{replica.gpu_memory_utilization:g}"),
        *("--max-model-len", str(replica.max_model_len)),
        *("--max-num-seqs", str(replica.max_num_seqs)),
        *("--kv-cache-dtype", engine.kv_cache_dtype, "--dtype", engine.dtype),
        *(part for flag, value in optional.items() if value for part in (flag, str(value))),
        *replica.extra_args,
    )


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    offline = OFFLINE if replica.engine.offline or are_brought(replica) else {}
    return {
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # as nvidia-smi counts them, where cards of several kinds are in one machine
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **offline,
        **visible_devices(replica, "HIP_VISIBLE_DEVICES"),
        **environment(replica.engine.env),
        "VLLM_API_KEY": SecretText.of(SecretName.ENGINE_API_KEY),
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
    directory = replica.weights.directory
    if directory:
        target = _model_directory(replica)
        mounts[target] = Mount(kind="bind", source=directory, read_only=True)
    return mounts


def _model_directory(replica: ReplicaPlan) -> PurePosixPath:
    return MODELS / replica.model
