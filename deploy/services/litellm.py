"""LiteLLM: the router; without a database, the master key is the only key.

Settings: https://docs.litellm.ai/docs/proxy/config_settings
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.service_plans import RouterPlan
from deploy.render import TEMPLATES
from deploy.services import postgres, valkey
from deploy.services.container import environment
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import TMP, ServiceContext
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile, ConfigTree
from deploy.services.litellm_config import config_text, hook_settings
from deploy.services.routes import (
    LITELLM,
    from_entry,
    published,
    router_addresses,
    router_name,
)
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretName, SecretText

IMAGE = LITELLM
PORT = 4000
HEALTH = "/health/liveliness"
"""Path that is answered while it runs."""
CONFIG = PurePosixPath("/etc/litellm")
LIVE = PurePosixPath("/etc/atelier")
"""What it reads whenever that changes: the engines' keys, and which replicas get no requests."""
HOOKS = "atelier_*.py"
"""What LiteLLM loads next to its configuration."""
STOP_SECONDS = 120
"""How long answers may go on that have begun when it stops; it takes no new ones then, which the
entry sends to another replica."""
STORE_RETRY_SECONDS = "10"
"""After how long LiteLLM asks Valkey again, which has failed; 60 where it is not set, and the next
attempt fails, too, where it takes a connection from before: ``RedisCircuitBreaker`` in
litellm/caching/redis_cache.py."""


MIGRATIONS = TMP / "migrations"
"""https://docs.litellm.ai/docs/proxy/prod: where the root file system is read-only"""


def units(context: ServiceContext) -> Iterator[Unit]:
    """Every replica of the router; they start one after the other, the first makes the tables."""
    plan = context.plan.router_of("litellm")
    if plan is None:
        return
    for index in range(plan.spec.replicas):
        yield _unit(context, plan, index)


def _unit(context: ServiceContext, plan: RouterPlan, index: int) -> Unit:
    live = context.live_directory(plan.host, IMAGE)
    config = _config(context, plan)
    return Unit(
        host=plan.host,
        tier=Tier.ROUTER,
        serves="router",
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        route=from_entry(context, plan, index, PORT),
        drain_seconds=plan.spec.drain_seconds,
        config=config,
        runs=context.container(
            router_name(context, plan, index),
            IMAGE,
            IMAGE,
            command=("--config", str(CONFIG / "config.yaml"), "--port", str(PORT)),
            env=_variables(context, plan, index),
            mounts={
                CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
                LIVE: Mount(kind="bind", source=str(live), read_only=True),
            },
            ports=published(plan.spec, index, PORT),
            memory_bytes=plan.spec.memory_limit,
            stop_timeout_seconds=STOP_SECONDS,
            healthcheck=HealthCheck(
                command=http_check(PORT, HEALTH),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _config(context: ServiceContext, plan: RouterPlan) -> ConfigTree:
    """Its configuration, and the hooks with theirs."""
    hooks = hook_settings(context, plan, router_addresses(context, plan, PORT), STOP_SECONDS)
    return context.config_tree(
        plan.host,
        IMAGE,
        {
            "config.yaml": ConfigFile(content=config_text(context, plan)),
            "atelier.json": ConfigFile(content=hooks),
            **{
                path.name: ConfigFile(content=path.read_text())
                for path in sorted((TEMPLATES / "litellm").glob(HOOKS))
            },
        },
    )


def _variables(
    context: ServiceContext, plan: RouterPlan, index: int
) -> dict[str, str | SecretText]:
    return {
        "ATELIER_REPLICA": str(index),
        "HOME": str(TMP),
        # engines close connections that are idle for 5 s: it should be the first to do so
        "AIOHTTP_KEEPALIVE_TIMEOUT": "4",
        # a new container may have another address; 5 min otherwise
        "AIOHTTP_TTL_DNS_CACHE": "2",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_TELEMETRY": "False",
        # where the hooks find each other
        "PYTHONPATH": str(CONFIG),
        **environment(plan.spec.env),
        **_stores(context),
        "LITELLM_MASTER_KEY": SecretText.of(SecretName.ROUTER_MASTER_KEY),
    }


def _stores(context: ServiceContext) -> dict[str, str | SecretText]:
    """Where it keeps keys, and what it shares with its replicas.

    Each replica brings the tables up to date as it starts, under a lock of the database's:
    https://docs.litellm.ai/docs/proxy/database_migrations
    """
    found: dict[str, str | SecretText] = {}
    database, shared = postgres.database_url(context, "litellm"), valkey.url(context)
    if database:
        found["DATABASE_URL"] = database
        found["LITELLM_MIGRATION_DIR"] = str(MIGRATIONS)
        found["LITELLM_SALT_KEY"] = SecretText.of(SecretName.ROUTER_SALT_KEY)
    if shared:
        found["REDIS_URL"] = shared
        found["REDIS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT"] = STORE_RETRY_SECONDS
    return found
