"""llama.cpp's llama-server: one GGUF model, behind an OpenAI-compatible API with a key.

Flags and variables: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services.component import Component, HostModelFile, Tier
from deploy.services.container import ContainerSpec, HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.published import ports
from deploy.spec import SecretName

IMAGE = "llama-cpp"
PORT = 8080
MODELS = PurePosixPath("/models")


def container_name(context: ServiceContext, replica: ReplicaPlan) -> str:
    """Name of the replica's container, which is also its DNS name on the deployment's network."""
    return context.container_name(IMAGE, replica.model, index=replica.index)


def component(context: ServiceContext, replica: ReplicaPlan) -> Component:
    """The container of one replica."""
    file, host = replica.file, context.plan.host(replica.host)
    assert file is not None  # noqa: S101 - a plan with llama.cpp has a file
    host_path = context.model_path(replica.host, file.sha256, file.path.name)
    image = context.images[IMAGE]
    return Component(
        host=replica.host,
        tier=Tier.ENGINE,
        image_name=IMAGE,
        start_timeout_seconds=replica.engine.start_timeout_seconds,
        model_file=HostModelFile(source=file, path=host_path),
        container=ContainerSpec(
            name=container_name(context, replica),
            service=IMAGE,
            image=image.reference,
            user=image.user,
            read_only=image.read_only,
            command=_arguments(replica, MODELS / host_path.name),
            env=replica.engine.env,
            secret_env={"LLAMA_API_KEY": SecretName.ENGINE_API_KEY},
            mounts={MODELS: Mount(kind="bind", source=str(host_path.parent), read_only=True)},
            tmpfs=(PurePosixPath("/tmp"),),  # noqa: S108 - inside the container
            ports=ports(replica, host, PORT),
            network=context.plan.name,
            memory_bytes=replica.memory_limit_bytes,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health"),
                interval_seconds=2,
                start_period_seconds=replica.engine.start_timeout_seconds,
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
