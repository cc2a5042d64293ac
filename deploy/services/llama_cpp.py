"""llama.cpp's llama-server: one GGUF model, behind an OpenAI-compatible API with a key.

It runs in a container on GPUs or CPUs, as a service of its host on CPUs, or as a daemon of a Mac on
its GPU, by Metal.

Variables: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md, images and
their devices: https://github.com/ggml-org/llama.cpp/blob/master/docs/docker.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.memory import PROMPT_CACHE, prompt_cache_mib
from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.container import environment
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import (
    RENDER_DEVICES,
    checked,
    gpu_access,
    gpu_shares,
    gpu_variables,
    visible_devices,
)
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile, HostModelFile
from deploy.services.llama_cpp_arguments import Files, arguments
from deploy.services.routes import from_routers
from deploy.services.unit import Tier, Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.spec import SecretName, SecretText

IMAGE = "llama-cpp"
PROGRAM = "llama-server"
PORT = 8080
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the container
KEY_VARIABLE, KEY_FILE = "LLAMA_API_KEY", "api_key"
MODELS, DRAFTS = PurePosixPath("/models"), PurePosixPath("/draft")
VARIANTS = {"nvidia": "cuda", "amd": "rocm"}
"""Upstream's images for GPUs, by the vendor of the card."""


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("llama_cpp"):
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica."""
    name = context.replica_name(IMAGE, replica)
    return openai_upstream(context, replica, name, PORT)


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    file = replica.file
    assert file is not None  # noqa: S101 - a plan with llama.cpp has a file
    model = HostModelFile(
        source=file, path=context.model_path(replica.host, file.sha256, file.path.name)
    )
    draft = _draft_file(context, replica)
    files = Files(model.path, draft.path if draft else None)
    make = _in_container if replica.runs == "container" else _native
    return Unit(
        host=replica.host,
        tier=Tier.ENGINE,
        serves=replica.served_model_name,
        start_timeout_seconds=replica.engine.start_timeout_seconds,
        route=from_routers(
            context,
            replica.served_model_name,
            context.replica_name(IMAGE, replica),
            _port(context, replica),
        ),
        drain_seconds=replica.engine.drain_seconds,
        model_file=model,
        draft_file=draft,
        gpu_shares=gpu_shares(replica),
        **make(context, replica, files),
    )


def _draft_file(context: ServiceContext, replica: ReplicaPlan) -> HostModelFile | None:
    file = replica.draft_file
    if file is None:
        return None
    path = context.model_path(replica.host, file.sha256, file.path.name)
    return HostModelFile(source=file, path=path)


def _port(context: ServiceContext, replica: ReplicaPlan) -> int:
    """Where it listens: in its container, or on its host."""
    return PORT if replica.runs == "container" else context.listens(replica)[1]


def _in_container(context: ServiceContext, replica: ReplicaPlan, files: Files) -> dict[str, Any]:
    image, draft = _image(replica), files.draft
    inside = Files(MODELS / files.model.name, DRAFTS / draft.name if draft else None)
    mounts = {MODELS: Mount(kind="bind", source=str(files.model.parent), read_only=True)}
    if draft:
        mounts[DRAFTS] = Mount(kind="bind", source=str(draft.parent), read_only=True)
    container = context.container(
        context.replica_name(IMAGE, replica),
        IMAGE,
        image,
        command=arguments(replica, inside, (EVERYWHERE, PORT)),
        env=_environment(replica),
        mounts=mounts,
        memory_bytes=replica.memory_limit_bytes,
        healthcheck=HealthCheck(
            command=checked(replica, http_check(PORT, "/health")),
            start_period_seconds=replica.engine.start_timeout_seconds,
        ),
        **_access(context, replica),
    )
    return {"image_name": image, "runs": container}


def _image(replica: ReplicaPlan) -> str:
    if not replica.gpus:
        return IMAGE
    variant = "vulkan" if _has_vulkan(replica) else VARIANTS[replica.gpu_vendor]
    return f"{IMAGE}-{variant}"


def _access(context: ServiceContext, replica: ReplicaPlan) -> dict[str, Any]:
    """Fields of the container: its GPUs; Vulkan needs no ``/dev/kfd``."""
    access = gpu_access(replica, context.host(replica))
    return access | {"devices": RENDER_DEVICES} if _has_vulkan(replica) else access


def _has_vulkan(replica: ReplicaPlan) -> bool:
    return bool(replica.gpus) and replica.engine.backend == "vulkan"


def _native(context: ServiceContext, replica: ReplicaPlan, files: Files) -> dict[str, Any]:
    program, name = context.program(replica.host, PROGRAM), context.replica_name(IMAGE, replica)
    address, port = context.listens(replica)
    command = (str(program.path), *arguments(replica, files, (address, port)))
    own = {"version": program.title, "health": http_check(port, "/health", address)}
    env = _environment(replica)
    if context.host(replica).system != "macos":
        runs = context.native(name, IMAGE, replica, command=command, env=env, **own)
        return {"program": program, "runs": runs}
    # launchd shows everybody the environment of its daemons, so the key is in a file
    key = ConfigFile(
        content=env.pop(KEY_VARIABLE), mode=0o600, owner=context.service_users[replica.host]
    )
    config = context.config_tree(replica.host, IMAGE, {KEY_FILE: key})
    command = (*command, "--api-key-file", str(config.directory / KEY_FILE))
    daemon = context.daemon(name, IMAGE, replica, command=command, env=env, **own)
    return {"program": program, "runs": daemon, "config": config}


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    key = SecretText.of(SecretName.ENGINE_API_KEY)
    return {
        **_visible(replica),
        PROMPT_CACHE: str(prompt_cache_mib(replica)),
        **environment(replica.engine.env),
        KEY_VARIABLE: key,
    }


def _visible(replica: ReplicaPlan) -> dict[str, str]:
    """Which GPUs, and in which order; nothing on CPUs, and on a Mac, which has one."""
    if _has_vulkan(replica):
        return visible_devices(replica, "GGML_VK_VISIBLE_DEVICES")
    return gpu_variables(replica) if replica.gpus and replica.gpu_vendor != "apple" else {}
