"""vLLM: one model on GPUs, behind an OpenAI-compatible API with a key.

Flags: https://docs.vllm.ai/en/latest/cli/serve/
Variables: https://docs.vllm.ai/en/latest/configuration/env_vars/
"""

from __future__ import annotations

from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.component import Component, Tier
from deploy.services.container import ContainerSpec, HealthCheck, Mount, http_get
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import gpu_access, image_name, visible_devices
from deploy.services.published import ports
from deploy.spec import SecretName

IMAGE = "vllm"
PORT = 8000
MODELS = PurePosixPath("/models")
HUGGINGFACE = PurePosixPath("/root/.cache/huggingface")
CACHE = PurePosixPath("/root/.cache/vllm")
"""Compiled graphs, kept from one container to the next."""


def container_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of the replica's container, which is also its DNS name on the deployment's network."""
    return context.container_name(IMAGE, replica.model, index=replica.index)


def component(context: ServiceContext, replica: ReplicaPlan) -> Component:
    """The container of one replica."""
    name = image_name(replica, IMAGE)
    image, engine = context.images[name], replica.engine
    host = context.plan.host(replica.host)
    return Component(
        host=replica.host,
        tier=Tier.ENGINE,
        image_name=name,
        start_timeout_seconds=engine.start_timeout_seconds,
        container=ContainerSpec(
            name=container_name(context, replica),
            service=IMAGE,
            image=image.reference,
            user=image.user,
            read_only=image.read_only,
            command=arguments(replica),
            env=_environment(replica) | engine.env,
            secret_env={"VLLM_API_KEY": SecretName.ENGINE_API_KEY},
            mounts=_mounts(context, replica),
            ports=ports(replica, host, PORT),
            network=context.plan.name,
            memory_bytes=replica.memory_limit_bytes,
            pids_limit=8192,
            stop_timeout_seconds=30,
            healthcheck=HealthCheck(
                command=http_get(PORT, "/health"),
                interval_seconds=5,
                start_period_seconds=engine.start_timeout_seconds,
            ),
            ipc="host" if engine.ipc == "host" else "",
            shm_size_bytes=0 if engine.ipc == "host" else engine.shm_size,
            ulimits={"memlock": -1, "stack": 67108864},
            **gpu_access(replica, host),
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


def _environment(replica: ReplicaPlan) -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # as nvidia-smi counts them, where cards of several kinds are in one machine
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **(offline if replica.engine.offline else {}),
        **visible_devices(replica, "HIP_VISIBLE_DEVICES"),
    }


def _mounts(context: ServiceContext, replica: ReplicaPlan) -> dict[PurePosixPath, Mount]:
    own, cache = context.plan.name, replica.engine.huggingface_cache
    mounts = {
        HUGGINGFACE: Mount(kind="bind", source=str(cache))
        if cache
        else Mount(kind="volume", source=f"{own}-huggingface"),
        CACHE: Mount(kind="volume", source=container_name(context, replica)),
    }
    directory = replica.weights.directory
    if directory:
        target = _model_directory(replica)
        mounts[target] = Mount(kind="bind", source=directory, read_only=True)
    return mounts


def _model_directory(replica: ReplicaPlan) -> PurePosixPath:
    return MODELS / replica.model
