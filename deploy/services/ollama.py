"""Ollama: one model on GPUs or a CPU; behind an API without a key.

It runs in a container, or on a Mac, whose GPU containers do not reach, as a daemon of launchd.

Variables: https://docs.ollama.com/faq and envconfig/config.go of its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.plan.addresses import host_and_port
from deploy.plan.memory import PROMPT_CACHE, prompt_cache_mib
from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.container import HealthCheck, Mount, environment
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import checked, gpu_access, gpu_shares, image_name, visible_devices
from deploy.services.health import http_check
from deploy.services.host_files import HostModelFile
from deploy.services.ollama_model import HOME, MODELS, completes, model_name, stored_model
from deploy.services.routes import from_routers
from deploy.services.unit import Tier, Unit
from deploy.services.upstream import Upstream, address
from deploy.spec.engine import QUANTISED_CACHES

IMAGE = "ollama"
PROGRAM = "ollama"
PORT = 11434


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("ollama"):
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica.

    Through its own API to chat, with the model's own settings; it has no way to complete there.
    """
    name, completing = context.replica_name(IMAGE, replica), completes(context, replica)
    return Upstream(
        name=name,
        model=replica.served_model_name,
        api="openai" if completing else "ollama",
        upstream_model=model_name(replica),
        address=address(context, replica, name, PORT),
        has_key=False,
        completes=completing,
    )


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    """What one replica runs as, and the model that is pulled or created in it."""
    file = None
    if replica.file is not None:
        path = context.model_path(replica.host, replica.file.sha256, replica.file.path.name)
        file = HostModelFile(source=replica.file, path=path)
    is_native = replica.runs == "native"
    make, port = (_native, context.listens(replica)[1]) if is_native else (_in_container, PORT)
    return Unit(
        host=replica.host,
        tier=Tier.ENGINE,
        serves=replica.served_model_name,
        start_timeout_seconds=replica.engine.start_timeout_seconds,
        route=from_routers(
            context, replica.served_model_name, context.replica_name(IMAGE, replica), port
        ),
        drain_seconds=replica.engine.drain_seconds,
        model_file=file,
        gpu_shares=gpu_shares(replica),
        **make(context, replica, file),
    )


def _in_container(
    context: ServiceContext, replica: ReplicaPlan, file: HostModelFile | None
) -> dict[str, Any]:
    name, volume = image_name(replica, IMAGE), context.replica_name(IMAGE, replica)
    mounts = {HOME: Mount(kind="volume", source=volume)}
    if file is not None:
        mounts[MODELS] = Mount(kind="bind", source=str(file.path.parent), read_only=True)
    runs = context.container(
        context.replica_name(IMAGE, replica),
        IMAGE,
        name,
        env=variables(replica) | environment(replica.engine.env),
        mounts=mounts,
        memory_bytes=replica.memory_limit_bytes,
        healthcheck=HealthCheck(
            command=checked(replica, "ollama list"),
            start_period_seconds=replica.engine.start_timeout_seconds,
        ),
        **gpu_access(replica, context.host(replica)),
    )
    model = stored_model(context, replica, volume, HOME, MODELS)
    return {"image_name": name, "model": model, "runs": runs}


def _native(
    context: ServiceContext, replica: ReplicaPlan, file: HostModelFile | None
) -> dict[str, Any]:
    program, name = context.program(replica.host, PROGRAM), context.replica_name(IMAGE, replica)
    address, port = context.listens(replica)
    env = variables(replica) | environment(replica.engine.env)
    del env["HOME"]
    runs = context.daemon(
        name,
        IMAGE,
        replica,
        version=program.title,
        command=(str(program.path), "serve"),
        env=env | {"OLLAMA_HOST": host_and_port(address, port)},
        health=http_check(port, "/api/version", address),
    )
    files = file.path.parent if file else MODELS
    model = stored_model(context, replica, "", runs.directory, files)
    return {"program": program, "model": model, "runs": runs}


def variables(replica: ReplicaPlan) -> dict[str, str]:
    """One model with a fixed number of slots; its cloud is switched off."""
    engine = replica.engine
    cache = "f16" if engine.kv_cache_dtype == "auto" else engine.kv_cache_dtype
    # a quantised cache needs it; without it, buffers on GPUs grow with the context by gigabytes
    wanted = engine.flash_attn == "on" or cache in QUANTISED_CACHES or replica.gpus
    flash = {"OLLAMA_FLASH_ATTENTION": "1"} if wanted else {}
    if engine.flash_attn == "off":
        flash = {"OLLAMA_FLASH_ATTENTION": "0"}
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
        # of llama-server, which Ollama runs with its own environment
        PROMPT_CACHE: str(prompt_cache_mib(replica)),
        **flash,
        **visible_devices(replica, "ROCR_VISIBLE_DEVICES"),
    }
