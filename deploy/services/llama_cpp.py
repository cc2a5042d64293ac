"""llama.cpp's llama-server: one GGUF model, behind an OpenAI-compatible API with a key.

Flags and variables: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.container import HealthCheck, Mount, environment
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.unit import HostModelFile, Tier, Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.spec import SecretName, SecretText

IMAGE = "llama-cpp"
PORT = 8080
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
    file, engine = replica.file, replica.engine
    assert file is not None  # noqa: S101 - a plan with llama.cpp has a file
    host_path = context.model_path(replica.host, file.sha256, file.path.name)
    return Unit(
        host=replica.host,
        tier=Tier.ENGINE,
        serves=replica.served_model_name,
        image_name=IMAGE,
        start_timeout_seconds=engine.start_timeout_seconds,
        model_file=HostModelFile(source=file, path=host_path),
        container=context.container(
            context.replica_name(IMAGE, replica),
            IMAGE,
            IMAGE,
            command=_arguments(replica, MODELS / host_path.name),
            env=environment(engine.env)
            | {"LLAMA_API_KEY": SecretText.of(SecretName.ENGINE_API_KEY)},
            mounts={MODELS: Mount(kind="bind", source=str(host_path.parent), read_only=True)},
            ports=context.published(replica, PORT),
            memory_bytes=replica.memory_limit_bytes,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health"),
                start_period_seconds=engine.start_timeout_seconds,
            ),
        ),
    )


def _arguments(replica: ReplicaPlan, model_path: PurePosixPath) -> tuple[str, ...]:
    """The command line of llama-server.

    ``--ctx-size`` is shared by all slots, so it is the context of one request times the slots.
    """
    threads = ("--threads", str(replica.engine.threads)) if replica.engine.threads else ()
    return (
        *("--model", str(model_path), "--alias", replica.served_model_name),
        *("--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - inside the container
        *("--ctx-size", str(replica.max_model_len * replica.max_num_seqs)),
        *("--parallel", str(replica.max_num_seqs)),
        *threads,
        *("--metrics", "--no-webui"),
        *replica.extra_args,
    )
