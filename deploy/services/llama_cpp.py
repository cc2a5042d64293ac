"""llama.cpp's llama-server: one GGUF model, behind an OpenAI-compatible API with a key.

It runs in a container, or as a service of its host.

Flags and variables: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.container import HealthCheck, Mount, environment
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.routes import from_routers
from deploy.services.unit import HostModelFile, Tier, Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.spec import SecretName, SecretText

IMAGE = "llama-cpp"
PROGRAM = "llama-server"
PORT = 8080
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the container
MODELS = PurePosixPath("/models")


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
    make = _in_container if replica.runs == "container" else _native
    return Unit(
        host=replica.host,
        tier=Tier.ENGINE,
        serves=replica.served_model_name,
        start_timeout_seconds=replica.engine.start_timeout_seconds,
        route=from_routers(context, context.replica_name(IMAGE, replica), _port(context, replica)),
        drain_seconds=replica.engine.drain_seconds,
        model_file=model,
        **make(context, replica, model.path),
    )


def _port(context: ServiceContext, replica: ReplicaPlan) -> int:
    """Where it listens: in its container, or on its host."""
    return PORT if replica.runs == "container" else context.listens(replica)[1]


def _in_container(
    context: ServiceContext, replica: ReplicaPlan, model_path: PurePosixPath
) -> dict[str, Any]:
    container = context.container(
        context.replica_name(IMAGE, replica),
        IMAGE,
        IMAGE,
        command=_arguments(replica, MODELS / model_path.name, (EVERYWHERE, PORT)),
        env=_environment(replica),
        mounts={MODELS: Mount(kind="bind", source=str(model_path.parent), read_only=True)},
        memory_bytes=replica.memory_limit_bytes,
        healthcheck=HealthCheck(
            command=http_check(PORT, "/health"),
            start_period_seconds=replica.engine.start_timeout_seconds,
        ),
    )
    return {"image_name": IMAGE, "runs": container}


def _native(
    context: ServiceContext, replica: ReplicaPlan, model_path: PurePosixPath
) -> dict[str, Any]:
    program = context.program(replica.host, PROGRAM)
    address, port = context.listens(replica)
    service = context.native(
        context.replica_name(IMAGE, replica),
        IMAGE,
        replica,
        version=program.title,
        command=(str(program.path), *_arguments(replica, model_path, (address, port))),
        env=_environment(replica),
        health=http_check(port, "/health", address),
    )
    return {"program": program, "runs": service}


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    key = SecretText.of(SecretName.ENGINE_API_KEY)
    return environment(replica.engine.env) | {"LLAMA_API_KEY": key}


def _arguments(
    replica: ReplicaPlan, model_path: PurePosixPath, listens: tuple[str, int]
) -> tuple[str, ...]:
    """The command line of llama-server.

    ``--ctx-size`` is shared by all slots, so it is the context of one request times the slots.
    """
    threads = ("--threads", str(replica.engine.threads)) if replica.engine.threads else ()
    return (
        *("--model", str(model_path), "--alias", replica.served_model_name),
        *("--host", listens[0], "--port", str(listens[1])),
        *("--ctx-size", str(replica.max_model_len * replica.max_num_seqs)),
        *("--parallel", str(replica.max_num_seqs)),
        *threads,
        *("--metrics", "--no-webui"),
        *replica.extra_args,
    )
