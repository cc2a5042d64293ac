"""SGLang: one model on GPUs, behind an OpenAI-compatible API with a key.

Variables: ``sglang/srt/environ.py`` of 0.5.21. At INFO it writes its whole configuration into the
log when it starts, and with it the key (``sglang/srt/entrypoints/engine.py``): that one line is
left out by a configuration of the log, which upstream reads where a variable names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from deploy.plan.replica_plan import ReplicaPlan
from deploy.render import TEMPLATES
from deploy.services.compiled import caches_of
from deploy.services.container import environment
from deploy.services.container_parts import Mount
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import (
    gpu_variables,
    image_name,
)
from deploy.services.host_files import ConfigFile
from deploy.services.hub_engine import replica_unit
from deploy.services.sglang_arguments import CONTAINER_PORT, arguments
from deploy.services.unit import Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.services.weights import weights_mounts, weights_variables
from deploy.spec import SecretName, SecretText

IMAGE = "sglang"
PORT = CONTAINER_PORT
CONFIG = PurePosixPath("/etc/atelier")
START, LOGGING = "start.sh", "logging.json"
CACHE = PurePosixPath("/root/.cache/sglang")
"""What it and its compilers made, which it points there; shared by the replicas of a host."""
HEALTH_SECONDS = 22
"""``/health`` runs one token where nothing else runs, takes a second at least, and gives up after
20 (``SGLANG_HEALTH_CHECK_TIMEOUT``)."""
NEWER_CARDS = "gfx950"
"""AMD's, which upstream has an image of its own for."""


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("sglang"):
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica: LiteLLM knows SGLang as vLLM, whose API it has."""
    name = context.replica_name(IMAGE, replica)
    own = openai_upstream(context, replica, name, PORT, api="vllm")
    return replace(own, completes=replica.writes)


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    files = {each: ConfigFile(content=_template(each)) for each in (START, LOGGING)}
    config = context.config_tree(replica.host, IMAGE, files)
    return replica_unit(
        context,
        replica,
        IMAGE,
        _image(replica),
        port=PORT,
        health_seconds=(HEALTH_SECONDS, HEALTH_SECONDS + 3),
        config=config,
        entrypoint="sh",
        command=(str(CONFIG / START), *arguments(replica)),
        env=_environment(replica),
        mounts={
            CACHE: Mount(kind="volume", source=_cache_volume(context, replica)),
            **weights_mounts(context, replica),
            CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
        },
    )


def _image(replica: ReplicaPlan) -> str:
    name = image_name(replica, IMAGE)
    return f"{name}-mi35x" if replica.gpu_gfx == NEWER_CARDS else name


def _cache_volume(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of the volume with what the replicas of a model compiled on a host."""
    return f"{caches_of(context.plan.name, IMAGE)}{replica.model}"


def _template(name: str) -> str:
    return (TEMPLATES / "sglang" / name).read_text()


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    return {
        "DO_NOT_TRACK": "1",
        "SGLANG_CACHE_DIR": str(CACHE),
        "CUDA_CACHE_PATH": str(CACHE / "cuda"),
        "SGLANG_LOGGING_CONFIG_PATH": str(CONFIG / LOGGING),
        **_beside_others(replica),
        **gpu_variables(replica),
        **weights_variables(replica),
        **environment(replica.engine.env),
        "ATELIER_ENGINE_KEY": SecretText.of(SecretName.ENGINE_API_KEY),
    }


def _beside_others(replica: ReplicaPlan) -> dict[str, str]:
    """Of several GPUs, one may have other engines on it, and that is planned for."""
    if len(replica.gpus) == 1:
        return {}
    return {"SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK": "false"}
