"""LiteLLM: the router; without a database, the master key is the only key.

Settings: https://docs.litellm.ai/docs/proxy/config_settings
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deploy.plan.deployment_plan import ReplicaPlan
from deploy.plan.stores import POOL
from deploy.render import TEMPLATES, render
from deploy.services import engines, postgres, valkey
from deploy.services.container import HealthCheck, Mount, Port, environment
from deploy.services.context import TMP, ServiceContext
from deploy.services.health import http_check
from deploy.services.unit import ConfigFile, Tier, Unit
from deploy.services.upstream import Api, Upstream
from deploy.spec import SecretName, SecretText
from deploy.spec.router import RouterSpec

IMAGE = "litellm"
PORT = 4000
CONFIG = PurePosixPath("/etc/litellm")
HOOKS = "atelier_hooks.py"
"""What LiteLLM loads beside its configuration."""
STREAM_TIMEOUT_SECONDS = 60
STREAM_TIMEOUT_ON_CPU_SECONDS = 300
"""A prompt of 8000 tokens takes minutes to read, at 30 tokens/s and more."""
STOP_SECONDS = 120
"""How long answers may go on that have begun when it stops; it takes no new ones then, which the
entry sends to another replica."""


MIGRATIONS = TMP / "migrations"
"""https://docs.litellm.ai/docs/proxy/prod: where the root file system is read-only"""


def container_name(context: ServiceContext, index: int = 0) -> str:
    """Name of a router's container, which is also its DNS name on the deployment's network."""
    return context.container_name(IMAGE, index=index)


def router_addresses(context: ServiceContext) -> tuple[str, ...]:
    """Name and port of every replica of the router, on the deployment's network of its host."""
    replicas = range(context.plan.router.spec.replicas)
    return tuple(f"{container_name(context, index)}:{PORT}" for index in replicas)


def units(context: ServiceContext) -> Iterator[Unit]:
    """Every replica of the router; they start one after the other, the first makes the tables."""
    for index in range(context.plan.router.spec.replicas):
        yield _unit(context, index)


def _unit(context: ServiceContext, index: int) -> Unit:
    plan = context.plan.router
    config = context.config_tree(
        plan.host,
        IMAGE,
        {
            "config.yaml": ConfigFile(content=_config(context)),
            HOOKS: ConfigFile(content=(TEMPLATES / "litellm" / HOOKS).read_text()),
        },
    )
    return Unit(
        host=plan.host,
        tier=Tier.ROUTER,
        serves="router",
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        container=context.container(
            container_name(context, index),
            IMAGE,
            IMAGE,
            command=("--config", str(CONFIG / "config.yaml"), "--port", str(PORT)),
            env={
                "HOME": str(TMP),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_MODE": "PRODUCTION",
                "LITELLM_TELEMETRY": "False",
                **environment(plan.spec.env),
                **_stores(context),
                "ENGINE_API_KEY": SecretText.of(SecretName.ENGINE_API_KEY),
                "LITELLM_MASTER_KEY": SecretText.of(SecretName.ROUTER_MASTER_KEY),
            },
            mounts={CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True)},
            ports=_published(plan.spec) if index == 0 else (),
            memory_bytes=plan.spec.memory_limit,
            stop_timeout_seconds=STOP_SECONDS,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health/liveliness"),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _published(spec: RouterSpec) -> tuple[Port, ...]:
    return (Port(host_ip=str(spec.listen), host_port=spec.port, container_port=PORT),)


def _stores(context: ServiceContext) -> dict[str, str | SecretText]:
    """Where it keeps keys, and what it shares with its replicas.

    Each replica brings the tables up to date as it starts, under a lock of the database's:
    https://docs.litellm.ai/docs/proxy/database_migrations
    """
    found: dict[str, str | SecretText] = {}
    database, shared = postgres.database_url(context, "router"), valkey.url(context)
    if database:
        found["DATABASE_URL"] = database
        found["LITELLM_MIGRATION_DIR"] = str(MIGRATIONS)
        found["LITELLM_SALT_KEY"] = SecretText.of(SecretName.ROUTER_SALT_KEY)
    if shared:
        found["REDIS_URL"] = shared
    return found


@dataclass(frozen=True)
class Deployment:
    """A replica as LiteLLM's configuration has it."""

    name: str
    """What it is called in LiteLLM's log."""
    model: str
    """What clients ask for."""
    provider: str
    """LiteLLM's name of the API."""
    upstream_model: str
    api_base: str
    has_key: bool


PROVIDERS: dict[Api, str] = {"vllm": "hosted_vllm", "openai": "openai", "ollama": "ollama_chat"}
"""What LiteLLM calls each API.

LiteLLM makes a chat of what clients ask ``ollama_chat`` to complete, and drops the suffix. Of
``openai`` it hands both on as they are, to ``/v1/completions`` and ``/v1/chat/completions``.
"""


def _deployment(upstream: Upstream) -> Deployment:
    path = "" if upstream.api == "ollama" else "/v1"
    return Deployment(
        name=upstream.name,
        model=upstream.model,
        provider=PROVIDERS[upstream.api],
        upstream_model=upstream.upstream_model,
        api_base=f"http://{upstream.address}{path}",
        has_key=upstream.has_key,
    )


def _config(context: ServiceContext) -> str:
    router, replicas = context.plan.router.spec, context.plan.replicas
    models = Counter(each.model for replica in replicas for each in _served(context, replica))
    return render(
        "litellm/config.yaml.j2",
        replicas=[_deployment(each) for replica in replicas for each in _served(context, replica)],
        aliases=router.aliases,
        fallbacks=[{model: list(others)} for model, others in router.fallbacks.items()],
        prices=router.prices,
        num_retries=router.num_retries,
        request_timeout_seconds=router.request_timeout_seconds,
        stream_timeouts={
            each.name: _stream_timeout(router, replica)
            for replica in replicas
            for each in _served(context, replica)
        },
        connections=POOL,
        has_database=postgres.database_url(context, "router") is not None,
        shares_state=valkey.url(context) is not None,
        timeout_retries={
            model: min(router.num_retries, count - 1) for model, count in models.items()
        },
    )


def _served(context: ServiceContext, replica: ReplicaPlan) -> Iterator[Upstream]:
    """A replica under each of its names; LiteLLM wants a name of its own for each of those."""
    own = engines.upstream(context, replica)
    yield own
    for name in own.adapters:
        yield replace(own, name=f"{own.name}-{name}", model=name, upstream_model=name)


def _stream_timeout(router: RouterSpec, replica: ReplicaPlan) -> int:
    default = STREAM_TIMEOUT_SECONDS if replica.gpus else STREAM_TIMEOUT_ON_CPU_SECONDS
    return router.stream_timeout_seconds or default
