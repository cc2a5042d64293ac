"""Open WebUI: chat in a browser, its data in a volume, its settings from here alone.

Variables: https://docs.openwebui.com/reference/env-configuration/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.addresses import host_and_port
from deploy.plan.deployment_plan import EntryPlan, WebUIPlan
from deploy.services import litellm, postgres
from deploy.services.container import HealthCheck, Mount, Port, environment
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.unit import DataFile, Tier, Unit
from deploy.spec import SecretName, SecretText

IMAGE = "open-webui"
PORT = 8080
DATA = PurePosixPath("/app/backend/data")
SQLITE = "webui.db"


def volume_name(context: ServiceContext) -> str:
    """Name of the volume with users, chats and settings."""
    return f"{context.plan.name}-{IMAGE}"


def units(context: ServiceContext) -> Iterator[Unit]:
    """The web UI, where there is one."""
    plan = context.plan.web_ui
    if plan is None:
        return
    yield Unit(
        host=plan.host,
        tier=Tier.WEB_UI,
        serves="web UI",
        image_name=IMAGE,
        is_stateful=True,
        data_file=_data_file(context),
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        container=context.container(
            context.container_name(IMAGE),
            IMAGE,
            IMAGE,
            env={
                **_environment(context, plan),
                **environment(plan.spec.env),
                **_database(context),
                "OPENAI_API_KEYS": SecretText.of(SecretName.ROUTER_MASTER_KEY),
                "WEBUI_SECRET_KEY": SecretText.of(SecretName.WEB_UI_SECRET_KEY),
                "WEBUI_ADMIN_PASSWORD": SecretText.of(SecretName.WEB_UI_ADMIN_PASSWORD),
            },
            mounts={DATA: Mount(kind="volume", source=volume_name(context))},
            ports=(
                Port(host_ip=str(plan.spec.listen), host_port=plan.spec.port, container_port=PORT),
            ),
            memory_bytes=plan.spec.memory_limit,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health"),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _database(context: ServiceContext) -> dict[str, str | SecretText]:
    """Where it keeps users and chats, if not in SQLite in its volume; files stay in the volume."""
    # psycopg 3 is in every image of it, psycopg2 is not
    url = postgres.database_url(context, "web_ui", scheme="postgresql+psycopg")
    return {"DATABASE_URL": url} if url else {}


def _data_file(context: ServiceContext) -> DataFile | None:
    """Users and chats in SQLite would be left behind by a web UI that has a database."""
    if not _database(context):
        return None
    volume = volume_name(context)
    return DataFile(
        path=DATA / SQLITE,
        volume=volume,
        volume_path=PurePosixPath(SQLITE),
        wanted=None,
        refusal=f"users and chats are in SQLite there ({SQLITE}), and would be left behind",
        allowed="a web UI that begins with PostgreSQL, or goes on with SQLite",
        fix="declare postgres=Postgres(web_ui=False) to go on with SQLite. Open WebUI does not move"
        " data to PostgreSQL itself: to start anew, save its chats in the web UI, and rename"
        f" {SQLITE}: docker exec {context.container_name(IMAGE)} mv {DATA / SQLITE}"
        f" {DATA / SQLITE}.old",
    )


def _environment(context: ServiceContext, plan: WebUIPlan) -> dict[str, str]:
    router = f"http://{_router_address(context, plan)}/v1"
    origins = _origins(plan, context.plan.entry)
    return {
        "PORT": str(PORT),
        "DATA_DIR": str(DATA),
        "WEBUI_NAME": plan.spec.title,
        "WEBUI_URL": origins[0],
        # chat hangs silently for an origin that is not listed
        "CORS_ALLOW_ORIGIN": ";".join(origins),
        "WEBUI_ADMIN_EMAIL": plan.spec.admin_email,
        "WEBUI_ADMIN_NAME": "Administrator",
        "ENABLE_SIGNUP": "false",
        "DEFAULT_USER_ROLE": "user",
        # else values in its database would silently win over a redeployment
        "ENABLE_PERSISTENT_CONFIG": "false",
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_OPENAI_API": "true",
        "OPENAI_API_BASE_URLS": router,
        "DEFAULT_MODELS": context.plan.default_model,
        # models are the router's business: without this, users see none
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        # nothing is fetched from a model hub or an update server
        "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1",
        "USE_SLIM_DOCKER": "true",
        "ENABLE_VERSION_UPDATE_CHECK": "false",
        "RAG_EMBEDDING_ENGINE": "openai",
        "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
        "AUDIO_STT_ENGINE": "openai",
        "ENABLE_COMMUNITY_SHARING": "false",
        "ENABLE_EVALUATION_ARENA_MODELS": "false",
        # each of these sends further requests to the engine behind the user's back
        "ENABLE_TITLE_GENERATION": "false",
        "ENABLE_TAGS_GENERATION": "false",
        "ENABLE_FOLLOW_UP_GENERATION": "false",
        "ENABLE_AUTOCOMPLETE_GENERATION": "false",
    }


def _origins(plan: WebUIPlan, entry: EntryPlan | None) -> list[str]:
    """The addresses under which browsers may reach the web UI, the public one first."""
    port = plan.spec.port
    local = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    public = [plan.spec.url] if plan.spec.url else []
    return [*public, *(entry.urls if entry else ()), *local]


def _router_address(context: ServiceContext, plan: WebUIPlan) -> str:
    """The router by its container's name, or at its host's address where it is on another."""
    router = context.plan.router
    if router.host == plan.host:
        return f"{litellm.container_name(context)}:{litellm.PORT}"
    return host_and_port(context.plan.host(router.host).address, router.spec.port)
