"""LiteLLM: the router, without a database, with the master key as the only key.

Settings: https://docs.litellm.ai/docs/proxy/config_settings
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.render import TEMPLATES, render
from deploy.services import engines
from deploy.services.component import Component, ConfigFile, Tier
from deploy.services.container import ContainerSpec, HealthCheck, Mount, Port
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.spec import SecretName
from deploy.spec.router import RouterSpec

IMAGE = "litellm"
PORT = 4000
CONFIG = PurePosixPath("/etc/litellm")
HOOKS = "atelier_hooks.py"
"""What LiteLLM loads beside its configuration."""
STREAM_TIMEOUT_SECONDS = 60
STREAM_TIMEOUT_ON_CPU_SECONDS = 300
"""A prompt of 8000 tokens takes minutes to read, at 30 tokens/s and more."""


def container_name(context: ServiceContext) -> str:
    """Name of the router's container, which is also its DNS name on the deployment's network."""
    return context.container_name(IMAGE)


def component(context: ServiceContext) -> Component:
    """The container of the router."""
    plan = context.plan.router
    image = context.images[IMAGE]
    config = context.config_tree(
        plan.host,
        IMAGE,
        {
            "config.yaml": ConfigFile(content=_config(context)),
            HOOKS: ConfigFile(content=(TEMPLATES / "litellm" / HOOKS).read_text()),
        },
    )
    return Component(
        host=plan.host,
        tier=Tier.ROUTER,
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        container=ContainerSpec(
            name=container_name(context),
            service=IMAGE,
            image=image.reference,
            user=image.user,
            read_only=image.read_only,
            command=("--config", str(CONFIG / "config.yaml"), "--port", str(PORT)),
            env={
                "HOME": "/tmp",  # noqa: S108 - inside the container
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_MODE": "PRODUCTION",
                "LITELLM_TELEMETRY": "False",
                **plan.spec.env,
            },
            secret_env={
                "ENGINE_API_KEY": SecretName.ENGINE_API_KEY,
                "LITELLM_MASTER_KEY": SecretName.ROUTER_MASTER_KEY,
            },
            mounts={CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True)},
            tmpfs=(PurePosixPath("/tmp"),),  # noqa: S108 - inside the container
            ports=(
                Port(host_ip=str(plan.spec.listen), host_port=plan.spec.port, container_port=PORT),
            ),
            network=context.plan.name,
            memory_bytes=plan.spec.memory_limit,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health/liveliness"),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _config(context: ServiceContext) -> str:
    router, replicas = context.plan.router.spec, context.plan.replicas
    models = Counter(replica.served_model_name for replica in replicas)
    return render(
        "litellm/config.yaml.j2",
        replicas=[engines.upstream(context, replica) for replica in replicas],
        num_retries=router.num_retries,
        request_timeout_seconds=router.request_timeout_seconds,
        stream_timeouts={
            engines.container_name(context, replica): _stream_timeout(router, replica)
            for replica in replicas
        },
        timeout_retries={
            model: min(router.num_retries, count - 1) for model, count in models.items()
        },
    )


def _stream_timeout(router: RouterSpec, replica: ReplicaPlan) -> int:
    default = STREAM_TIMEOUT_SECONDS if replica.gpus else STREAM_TIMEOUT_ON_CPU_SECONDS
    return router.stream_timeout_seconds or default
