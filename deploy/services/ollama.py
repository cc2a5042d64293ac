"""Ollama: one model, or several in turn, on GPUs or a CPU; behind an API without a key.

It runs in a container, or on a Mac, whose GPU containers do not reach, as a daemon of launchd.

Variables: https://docs.ollama.com/faq and envconfig/config.go of its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.addresses import host_and_port
from deploy.plan.memory import PROMPT_CACHE, prompt_cache_mib
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared import beside
from deploy.plan.weights import ollama_name
from deploy.services.container import environment
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import checked, gpu_access, gpu_shares, image_name, visible_devices
from deploy.services.health import http_check
from deploy.services.host_files import HostModelFile
from deploy.services.ollama_model import (
    HOME,
    MODELS,
    Store,
    completes,
    model_file,
    stored_model,
)
from deploy.services.routes import from_routers, together
from deploy.services.unit import Route, Tier, Unit
from deploy.services.upstream import Upstream, address
from deploy.spec.engine_settings import QUANTISED_CACHES

IMAGE = "ollama"
PROGRAM = "ollama"
PORT = 11434


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves, and one for all that share an Ollama."""
    replicas = context.replicas("ollama")
    for replica in replicas:
        own = beside(replica, replicas)
        if own[0] is replica:
            yield _unit(context, own)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica.

    Through its own API to chat, with the model's own settings; it has no way to complete there.
    """
    container, completing = context.replica_name(IMAGE, replica), completes(context, replica)
    return Upstream(
        name=_router_name(context, replica),
        container=container,
        model=replica.served_model_name,
        api="openai" if completing else "ollama",
        upstream_model=ollama_name(replica),
        address=address(context, replica, container, PORT),
        has_key=False,
        completes=completing,
    )


def _router_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """What routers call a replica: like its container, which may serve other models, too."""
    container = context.replica_name(IMAGE, replica)
    return f"{container}-{replica.model}" if replica.engine.shared else container


def _unit(context: ServiceContext, replicas: tuple[ReplicaPlan, ...]) -> Unit:
    """What one Ollama runs as, and the models that are pulled or created in it."""
    first = replicas[0]
    is_native = first.runs == "native"
    make, port = (_native, context.listens(first)[1]) if is_native else (_in_container, PORT)
    name = context.replica_name(IMAGE, first)
    return Unit(
        host=first.host,
        tier=Tier.ENGINE,
        serves=name if first.engine.shared else first.served_model_name,
        start_timeout_seconds=first.engine.start_timeout_seconds,
        route=_route(context, replicas, port),
        drain_seconds=first.engine.drain_seconds,
        gpu_shares=gpu_shares(first),
        **make(context, replicas),
    )


def _route(context: ServiceContext, replicas: tuple[ReplicaPlan, ...], port: int) -> Route | None:
    """How requests for all of its models come to it."""
    return together(
        from_routers(context, replica.served_model_name, _router_name(context, replica), port)
        for replica in replicas
    )


def _in_container(context: ServiceContext, replicas: tuple[ReplicaPlan, ...]) -> dict[str, Any]:
    first, name = replicas[0], context.replica_name(IMAGE, replicas[0])
    image, mounts = image_name(first, IMAGE), {HOME: Mount(kind="volume", source=name)}
    files = [file for replica in replicas if (file := model_file(context, replica))]
    if files:
        mounts[MODELS] = Mount(kind="bind", source=str(_shown(files[0], first)), read_only=True)
    runs = context.container(
        name,
        IMAGE,
        image,
        env=variables(replicas) | environment(first.engine.env),
        mounts=mounts,
        memory_bytes=first.memory_limit_bytes,
        healthcheck=HealthCheck(
            command=checked(first, "ollama list"),
            start_period_seconds=first.engine.start_timeout_seconds,
        ),
        **gpu_access(first, context.host(first)),
    )
    store = Store(volume=name, home=HOME)
    models = (
        stored_model(context, replica, store, lambda file: MODELS / _within(file, first))
        for replica in replicas
    )
    return {"image_name": image, "models": tuple(models), "runs": runs}


def _shown(file: HostModelFile, replica: ReplicaPlan) -> PurePosixPath:
    """The directory of the host that the container sees.

    Of a shared one that of all model files, so that others can be added while it serves.
    """
    own = file.path.parent
    return own.parent if replica.engine.shared else own


def _within(file: HostModelFile, replica: ReplicaPlan) -> PurePosixPath:
    """Where a model's directory is in there."""
    return file.path.parent.relative_to(_shown(file, replica))


def _native(context: ServiceContext, replicas: tuple[ReplicaPlan, ...]) -> dict[str, Any]:
    first = replicas[0]
    program, name = context.program(first.host, PROGRAM), context.replica_name(IMAGE, first)
    address, port = context.listens(first)
    env = variables(replicas) | environment(first.engine.env)
    del env["HOME"]
    runs = context.daemon(
        name,
        IMAGE,
        first,
        version=program.title,
        command=(str(program.path), "serve"),
        env=env | {"OLLAMA_HOST": host_and_port(address, port)},
        health=http_check(port, "/api/version", address),
    )
    store = Store(volume="", home=runs.directory)
    models = (
        stored_model(context, replica, store, lambda file: file.path.parent) for replica in replicas
    )
    return {"program": program, "models": tuple(models), "runs": runs}


def variables(replicas: tuple[ReplicaPlan, ...]) -> dict[str, str]:
    """Models with a fixed number of slots each; its cloud is switched off.

    Of a model that was made for a shorter context than the others, Ollama itself takes less.
    """
    replica, engine = replicas[0], replicas[0].engine
    cache = "f16" if engine.kv_cache_dtype == "auto" else engine.kv_cache_dtype
    # a quantised cache needs it; without it, buffers on GPUs grow with the context by gigabytes
    wanted = engine.flash_attn == "on" or cache in QUANTISED_CACHES or replica.gpus
    flash = {"OLLAMA_FLASH_ATTENTION": "1"} if wanted else {}
    if engine.flash_attn == "off":
        flash = {"OLLAMA_FLASH_ATTENTION": "0"}
    return {
        "HOME": str(HOME),
        "OLLAMA_HOST": f"0.0.0.0:{PORT}",
        "OLLAMA_CONTEXT_LENGTH": str(max(each.max_model_len for each in replicas)),
        "OLLAMA_NUM_PARALLEL": str(replica.max_num_seqs),
        "OLLAMA_MAX_LOADED_MODELS": str(engine.most_loaded),
        "OLLAMA_KEEP_ALIVE": engine.keep_alive,
        "OLLAMA_LOAD_TIMEOUT": f"{engine.start_timeout_seconds}s",
        "OLLAMA_KV_CACHE_TYPE": cache,
        "OLLAMA_NO_CLOUD": "1",
        # of llama-server, which Ollama runs with its own environment
        PROMPT_CACHE: str(prompt_cache_mib(replica)),
        **flash,
        **visible_devices(replica, "ROCR_VISIBLE_DEVICES"),
    }
