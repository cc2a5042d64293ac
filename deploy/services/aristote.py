"""Aristote Dispatcher: a sender that takes requests, and for each model a queue and a consumer.

The sender looks a token up in PostgreSQL and puts a message into the queue of the model, the
model's consumer answers with an engine's address, and the sender hands the request on to that.

Variables: https://github.com/CentraleSupelec/aristote-dispatcher, ``src/sender/settings.py`` and
``src/consumer/settings.py`` of v1.4.3
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.people import ARISTOTE_ACCOUNT
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.render import TEMPLATES
from deploy.services import engines, postgres, rabbitmq
from deploy.services.container import environment
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile, ConfigTree
from deploy.services.routes import ARISTOTE, from_entry, published, router_name
from deploy.services.runs import canonical_json
from deploy.services.unit import Tier, Unit
from deploy.spec import AristoteSpec, RouterSpec, SecretName, SecretText

SENDER, CONSUMER = ARISTOTE, "aristote-consumer"
PORT = 8080
HEALTH = "/health/readiness"
"""It tells of the channel to RabbitMQ; /health/liveness is 200 where that is lost. Neither wants a
token."""
CODE = PurePosixPath("/app")
"""Where Aristote's code is in its images."""
CONFIG = PurePosixPath("/etc/atelier")
SENDER_FILES = ("sender.py", "account.py", "serve.py")
CONSUMER_FILES = ("consumer_health.py",)
STOP_SECONDS = 120
"""How long answers may go on that have begun when a sender stops."""
NOT_READY_SECONDS = 60
"""After which a sender is started anew; RabbitMQ is back within 15 s of its own start."""
RETRIES = 10
"""Checks in a row that fail before one is unhealthy: all do while RabbitMQ is made anew."""
WARNING = "30"
"""Of Python's logging: below it, each request writes its user's token into the log."""
QUEUE_EXPIRATION_MS = 600_000
"""How long a queue outlives its consumer. At upstream's 30 s a consumer that is replaced slowly
takes its queue along, and the sender with it. Another value is refused by a queue that lives:
RabbitMQ must begin anew with it."""
MESSAGE_EXPIRATION_MS = 570_000
"""Of messages that no one waits for; as with the queue's, another value wants another queue."""
DATABASE_SECONDS = 10
"""How long a connection to the database may take; without a limit, the system's, of minutes."""
PING_SECONDS = 10
"""From one question to the engines to the next; after each, round-robin begins with the first."""


def units(context: ServiceContext) -> Iterator[Unit]:
    """A consumer for each model, then every sender; the first of these makes the tables."""
    plan = context.plan.router_of("aristote")
    if plan is None:
        return
    for model in plan.models:
        yield _consumer(context, plan, model)
    for index in range(plan.spec.replicas):
        yield _sender(context, plan, index)


def consumer_name(context: ServiceContext, model: str) -> str:
    """Name of the container of a model's consumer."""
    return context.container_name(CONSUMER, model)


def _consumer(context: ServiceContext, plan: RouterPlan, model: str) -> Unit:
    config = _config(context, plan, CONSUMER, CONSUMER_FILES)
    return Unit(
        host=plan.host,
        tier=Tier.CONSUMER,
        serves=f"queue of {model}",
        image_name=CONSUMER,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        runs=context.container(
            consumer_name(context, model),
            CONSUMER,
            CONSUMER,
            entrypoint="python3",
            command=("-m", "src.consumer.main"),
            env=_consumer_variables(context, plan.spec, model),
            mounts=_mounts(config),
            memory_bytes=plan.spec.dispatch.consumer_memory_limit,
            healthcheck=HealthCheck(
                command=f"python3 {CONFIG / CONSUMER_FILES[0]}",
                retries=RETRIES,
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _consumer_variables(
    context: ServiceContext, router: RouterSpec, model: str
) -> dict[str, str | SecretText]:
    replicas = context.plan.replicas_of(model)
    limited = router.dispatch.max_parallel_requests is not None
    return {
        **_common(),
        **rabbitmq.variables(context),
        "MODEL": model,
        "VLLM_SERVERS": _servers(context, router.dispatch, replicas),
        "ROUTING_STRATEGY": _strategy(router.dispatch, replicas),
        "PRIORITY_HANDLER": "vllm" if _knows_priorities(replicas) else "ignore",
        "QUALITY_OF_SERVICE_POLICY": (
            "parallel-requests-threshold-requeue" if limited else "warning-log"
        ),
        # a slot is given back after this time, also where its answer goes on
        "VLLM_TREATMENT_TIMEOUT_SECONDS": str(router.request_timeout_seconds),
        "RPC_QUEUE_EXPIRATION": str(QUEUE_EXPIRATION_MS),
        "RPC_MESSAGE_EXPIRATION": str(MESSAGE_EXPIRATION_MS),
        "PING_REFRESH_RATE": str(PING_SECONDS),
    }


def _servers(
    context: ServiceContext, settings: AristoteSpec, replicas: tuple[ReplicaPlan, ...]
) -> str | SecretText:
    """The engines by address, without a slash at its end and without ``/v1``."""
    servers: dict[str, dict[str, Any]] = {}
    for replica in replicas:
        seen = engines.upstream(context, replica)
        server: dict[str, Any] = {"organization": settings.organization_of(replica.host)}
        if seen.has_key:
            server["token"] = "{engine_key}"  # noqa: S105 - stands for it
        if settings.max_parallel_requests is not None:
            server["max_parallel_requests"] = settings.max_parallel_requests
        servers[f"http://{seen.address}"] = server
    text = json.dumps(servers)
    if "{engine_key}" not in text:
        return text
    return SecretText(template=text, secrets={"engine_key": SecretName.ENGINE_API_KEY})


def _strategy(settings: AristoteSpec, replicas: tuple[ReplicaPlan, ...]) -> str:
    """Of one replica there is nothing to choose, and nothing to be measured."""
    if len(replicas) == 1:
        return "round-robin"
    return settings.routing_strategy


def _knows_priorities(replicas: tuple[ReplicaPlan, ...]) -> bool:
    """Whether the engines take the field that is added to requests; others refuse them."""
    return all(
        each.engine.kind == "vllm" and each.engine.scheduling_policy == "priority"
        for each in replicas
    )


def _sender(context: ServiceContext, plan: RouterPlan, index: int) -> Unit:
    config = _config(context, plan, SENDER, SENDER_FILES)
    return Unit(
        host=plan.host,
        tier=Tier.ROUTER,
        serves="router",
        image_name=SENDER,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        route=from_entry(context, plan, index, PORT),
        drain_seconds=plan.spec.drain_seconds,
        config=config,
        runs=context.container(
            router_name(context, plan, index),
            SENDER,
            SENDER,
            entrypoint="python3",
            command=(str(CONFIG / SENDER_FILES[0]), _started()),
            env=_sender_variables(context, plan),
            mounts=_mounts(config),
            ports=published(plan.spec, index, PORT),
            memory_bytes=plan.spec.memory_limit,
            stop_timeout_seconds=STOP_SECONDS,
            healthcheck=HealthCheck(
                command=http_check(PORT, HEALTH),
                retries=RETRIES,
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _started() -> str:
    """What sender.py runs: upstream's migrations, the account, and the server."""
    _, account, serve = (str(CONFIG / name) for name in SENDER_FILES)
    return canonical_json(
        {
            "directory": str(CODE),
            "before": [["alembic", "upgrade", "head"], ["python3", account]],
            "command": ["python3", serve, str(PORT)],
            "url": f"http://127.0.0.1:{PORT}{HEALTH}",
            "seconds": NOT_READY_SECONDS,
        }
    )


def _sender_variables(context: ServiceContext, plan: RouterPlan) -> dict[str, str | SecretText]:
    router, settings = plan.spec, plan.spec.dispatch
    database = postgres.database_url(context, "aristote", scheme="postgresql+psycopg2")
    assert database is not None  # noqa: S101 - the plan refuses it without
    account = {
        "name": ARISTOTE_ACCOUNT,
        "organization": settings.organization,
        "priority": settings.priority,
        "threshold": settings.threshold,
        "default_routing_mode": settings.routing_mode,
    }
    return {
        **_common(),
        **environment(router.env),
        **rabbitmq.variables(context),
        "DATABASE_URL": database,
        # the sender answers nothing, and people cannot be looked at, while one is opened:
        # https://www.postgresql.org/docs/current/libpq-envars.html
        "PGCONNECT_TIMEOUT": str(DATABASE_SECONDS),
        "MODEL_HOST_MAPPING": json.dumps(_organizations(context, plan)),
        "MESSAGE_TIMEOUT": str(settings.queue_timeout_seconds),
        "PROXY_CLIENT_REQUEST_TIMEOUT": str(router.request_timeout_seconds),
        "ATELIER_ACCOUNT": canonical_json(account),
        "ATELIER_MASTER_KEY": SecretText.of(SecretName.ROUTER_MASTER_KEY),
    }


def _organizations(context: ServiceContext, plan: RouterPlan) -> dict[str, list[str]]:
    """Whose engines serve each model."""
    settings = plan.spec.dispatch
    return {
        model: sorted(
            {settings.organization_of(each.host) for each in context.plan.replicas_of(model)}
        )
        for model in plan.models
    }


def _common() -> dict[str, str | SecretText]:
    return {
        "LOG_LEVEL": WARNING,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _config(
    context: ServiceContext, plan: RouterPlan, service: str, names: tuple[str, ...]
) -> ConfigTree:
    folder = TEMPLATES / "aristote"
    files = {name: ConfigFile(content=(folder / name).read_text("utf-8")) for name in names}
    return context.config_tree(plan.host, service, files)


def _mounts(config: ConfigTree) -> dict[PurePosixPath, Mount]:
    return {CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True)}
