"""Ollama: one model on GPUs or a CPU; behind an API without a key.

Variables: https://docs.ollama.com/faq and envconfig/config.go of its source.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.component import Component, HostModelFile, Tier
from deploy.services.container import ContainerSpec, HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import gpu_access, image_name, visible_devices
from deploy.services.ollama_model import HOME, MODELS, stored_model
from deploy.services.published import ports

IMAGE = "ollama"
PORT = 11434


def container_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of the replica's container, which is also its DNS name on the deployment's network."""
    return context.container_name(IMAGE, replica.model, index=replica.index)


def component(context: ServiceContext, replica: ReplicaPlan) -> Component:
    """The container of one replica, and the model that is pulled or created in it."""
    name, volume = image_name(replica, IMAGE), container_name(context, replica)
    image, host, file = context.images[name], context.plan.host(replica.host), None
    mounts = {HOME: Mount(kind="volume", source=volume)}
    if replica.file is not None:
        path = context.model_path(replica.host, replica.file.sha256, replica.file.path.name)
        file = HostModelFile(source=replica.file, path=path)
        mounts[MODELS] = Mount(kind="bind", source=str(path.parent), read_only=True)
    return Component(
        host=replica.host,
        tier=Tier.ENGINE,
        image_name=name,
        start_timeout_seconds=replica.engine.start_timeout_seconds,
        model_file=file,
        model=stored_model(context, replica, volume),
        container=ContainerSpec(
            name=container_name(context, replica),
            service=IMAGE,
            image=image.reference,
            user=image.user,
            read_only=image.read_only,
            env=environment(replica) | replica.engine.env,
            mounts=mounts,
            tmpfs=(PurePosixPath("/tmp"),),  # noqa: S108 - inside the container
            ports=ports(replica, host, PORT),
            network=context.plan.name,
            memory_bytes=replica.memory_limit_bytes,
            healthcheck=HealthCheck(
                command="ollama list",
                start_period_seconds=replica.engine.start_timeout_seconds,
            ),
            **gpu_access(replica, host),
        ),
    )


def environment(replica: ReplicaPlan) -> dict[str, str]:
    """One model with a fixed number of slots; its cloud is switched off."""
    cache = "f16" if replica.engine.kv_cache_dtype == "auto" else replica.engine.kv_cache_dtype
    # a quantised cache needs it; without it, buffers on GPUs grow with the context by gigabytes
    flash = {"OLLAMA_FLASH_ATTENTION": "1"} if cache != "f16" or replica.gpus else {}
    return {
        "HOME": str(HOME),
        "OLLAMA_HOST": f"0.0.0.0:{PORT}",
        "OLLAMA_CONTEXT_LENGTH": str(replica.max_model_len),
        "OLLAMA_NUM_PARALLEL": str(replica.max_num_seqs),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": replica.engine.keep_alive,
        "OLLAMA_LOAD_TIMEOUT": f"{replica.engine.start_timeout_seconds}s",
        "OLLAMA_KV_CACHE_TYPE": cache,
        "OLLAMA_NO_CLOUD": "1",
        **flash,
        **visible_devices(replica, "ROCR_VISIBLE_DEVICES"),
    }
