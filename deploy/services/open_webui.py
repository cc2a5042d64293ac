"""Open WebUI: chat in a browser, its data in a volume, its settings from here alone.

Variables: https://docs.openwebui.com/reference/env-configuration/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.service_plans import EntryPlan, WebUIPlan
from deploy.render import TEMPLATES
from deploy.services import postgres, routers, valkey
from deploy.services.container import environment
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile, DataFile
from deploy.services.litellm_config import PERSON_HEADER
from deploy.services.open_webui_logins import CONFIG, login_environment, login_files
from deploy.services.routes import (
    linked_address,
    published,
    router_addresses,
    router_name,
    web_ui_name,
    web_ui_route,
)
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretName, SecretText

IMAGE = "open-webui"
PORT = 8080
DATA = PurePosixPath("/app/backend/data")
SILENCE = "sitecustomize.py"
"""What keeps what people write out of the log; Python knows it by this name."""
SQLITE = "webui.db"
CHATS = ("chat",)
"""How the tables begin that keep what people ask and are answered, by design."""
ANSWER_SECONDS = 300
"""As long as it counts an answer that nobody writes any more as one that is being written."""
SLIM = "-slim"
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
OPENAI_ADDRESSES = (
    "RAG_OPENAI_API_BASE_URL",
    "AUDIO_STT_OPENAI_API_BASE_URL",
    "AUDIO_TTS_OPENAI_API_BASE_URL",
    "IMAGES_OPENAI_API_BASE_URL",
    "IMAGES_EDIT_OPENAI_API_BASE_URL",
)
"""What is api.openai.com unless it is set, whatever answers chats (config.py of 0.12.4)."""


def volume_name(context: ServiceContext) -> str:
    """Name of the volume with users, chats and settings."""
    return f"{context.plan.name}-{IMAGE}"


def units(context: ServiceContext) -> Iterator[Unit]:
    """Every replica of the web UI, where there is one; the first that starts makes the tables."""
    plan = context.plan.web_ui
    if plan is None:
        return
    for index in range(plan.spec.replicas):
        yield _unit(context, plan, index)


def _unit(context: ServiceContext, plan: WebUIPlan, index: int) -> Unit:
    silence = ConfigFile(content=(TEMPLATES / IMAGE / SILENCE).read_text("utf-8"))
    config = context.config_tree(plan.host, IMAGE, {SILENCE: silence, **login_files(context)})
    mounts = {
        DATA: Mount(kind="volume", source=volume_name(context)),
        CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
    }
    return Unit(
        host=plan.host,
        tier=Tier.WEB_UI,
        serves="web UI",
        image_name=IMAGE,
        is_stateful=True,
        data_file=_data_file(context, index),
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        route=web_ui_route(context, index, PORT),
        drain_seconds=plan.spec.drain_seconds if plan.spec.replicas > 1 else 0,
        config=config,
        runs=context.container(
            web_ui_name(context, index),
            IMAGE,
            IMAGE,
            env=_all_variables(context, plan),
            mounts=mounts,
            ports=published(plan.spec, index, PORT),
            memory_bytes=plan.spec.memory_limit,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health"),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _all_variables(context: ServiceContext, plan: WebUIPlan) -> dict[str, str | SecretText]:
    address = _origins(plan, context.plan.entry)[0]
    return {
        **_environment(context, plan),
        **_retrieval(context, plan),
        **login_environment(context, plan.spec, address),
        **environment(plan.spec.env),
        **_past_proxies(context, plan),
        **_database(context),
        **_shared(context, plan),
        **_forwarded(context),
        "OPENAI_API_KEYS": SecretText.of(SecretName.ROUTER_MASTER_KEY),
        "WEBUI_SECRET_KEY": SecretText.of(SecretName.WEB_UI_SECRET_KEY),
        "WEBUI_ADMIN_PASSWORD": SecretText.of(SecretName.WEB_UI_ADMIN_PASSWORD),
    }


def _shared(context: ServiceContext, plan: WebUIPlan) -> dict[str, str | SecretText]:
    """What several of it share, and where it is written down who has logged out.

    Without that a login goes on after somebody has logged out, if only for who has its token.
    https://docs.openwebui.com/getting-started/advanced-topics/scaling/
    """
    url = valkey.url(context) if plan.uses_valkey else None
    if url is None:
        return {}
    found: dict[str, str | SecretText] = {
        "REDIS_URL": url,
        # the router has its keys there, too
        "REDIS_KEY_PREFIX": f"{context.plan.name}-{IMAGE}",
        # what is left there of an answer if it dies meanwhile; an hour unless set (tasks.py)
        "REDIS_RESPONSE_STREAM_TTL": str(ANSWER_SECONDS),
    }
    if plan.spec.oidc:
        # the provider says who has logged out there
        found["ENABLE_OAUTH_BACKCHANNEL_LOGOUT"] = "true"
    if plan.spec.replicas > 1:
        # browsers use websockets alone, which need not come to the same one each time
        found |= {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": url}
    return found


def _past_proxies(context: ServiceContext, plan: WebUIPlan) -> dict[str, str | SecretText]:
    """With a proxy declared, only what is outside is asked through it."""
    declared = environment(plan.spec.env)
    if not {name.upper() for name in declared} & PROXIES:
        return {}
    inside = (_router_address(context, plan).partition(":")[0], "localhost", "127.0.0.1")
    names = [name for name in declared if name.upper() == "NO_PROXY"] or ["NO_PROXY"]
    return {
        name: ",".join([value, *inside] if value else inside)
        for name in names
        if isinstance(value := declared.get(name, ""), str)
    }


def _database(context: ServiceContext) -> dict[str, str | SecretText]:
    """Where it keeps users and chats, if not in SQLite in its volume; files stay in the volume."""
    # psycopg 3 is in every image of it, psycopg2 is not
    url = postgres.database_url(context, "web_ui", scheme="postgresql+psycopg")
    return {"DATABASE_URL": url} if url else {}


def _forwarded(context: ServiceContext) -> dict[str, str]:
    """The router is told who asks, where people have keys of their own.

    https://docs.openwebui.com/reference/env-configuration/#enable_forward_user_info_headers
    """
    if context.plan.people is None or context.plan.router.spec.kind != "litellm":
        return {}
    return {
        "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
        "FORWARD_USER_INFO_HEADER_USER_EMAIL": PERSON_HEADER,
    }


def _data_file(context: ServiceContext, index: int) -> DataFile | None:
    """Users and chats in SQLite would be left behind by a web UI that has a database."""
    if index or not _database(context):
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
        # where Python finds what it runs when it starts
        "PYTHONPATH": str(CONFIG),
        "WEBUI_NAME": plan.title,
        "WEBUI_URL": origins[0],
        # chat hangs silently for an origin that is not listed
        "CORS_ALLOW_ORIGIN": ";".join(origins),
        "WEBUI_ADMIN_EMAIL": plan.spec.admin_email,
        "WEBUI_ADMIN_NAME": "Administrator",
        # else values in its database would silently win over a redeployment
        "ENABLE_PERSISTENT_CONFIG": "false",
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_OPENAI_API": "true",
        "OPENAI_API_BASE_URLS": router,
        # else memories, recordings and sound files would be sent to OpenAI
        **dict.fromkeys(OPENAI_ADDRESSES, router),
        "DEFAULT_MODELS": context.plan.default_model,
        # models are the router's business: without this, users see none
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        # nothing is fetched from a model hub or an update server
        "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1",
        "USE_SLIM_DOCKER": "true",
        "ENABLE_VERSION_UPDATE_CHECK": "false",
        "AUDIO_STT_ENGINE": "openai",
        "ENABLE_COMMUNITY_SHARING": "false",
        "ENABLE_EVALUATION_ARENA_MODELS": "false",
        # each of these sends further requests to the engine behind the user's back
        "ENABLE_TITLE_GENERATION": "false",
        "ENABLE_TAGS_GENERATION": "false",
        "ENABLE_FOLLOW_UP_GENERATION": "false",
        "ENABLE_AUTOCOMPLETE_GENERATION": "false",
    }


def _retrieval(context: ServiceContext, plan: WebUIPlan) -> dict[str, str | SecretText]:
    """How it finds what a question needs in documents: with the deployment's own models.

    Without a model for embeddings, documents go to the chat as a whole; and in upstream's slim
    image, which can keep embeddings in PostgreSQL with pgvector alone. So they do with several web
    UIs: Chroma's files are one process's.
    """
    replicas, router = context.plan.replicas, f"http://{_router_address(context, plan)}/v1"
    embedding = next((each.served_model_name for each in replicas if each.embeds), "")
    reranker = next((each.served_model_name for each in replicas if each.reranks), "")
    # else it loads a model of its own, which is not in its image
    found: dict[str, str | SecretText] = {"RAG_EMBEDDING_ENGINE": "openai"}
    is_slim = context.images[IMAGE].reference.endswith(SLIM)
    if not embedding or is_slim or plan.spec.replicas > 1:
        # what people have it remember is found by embeddings, too
        return found | {"BYPASS_EMBEDDING_AND_RETRIEVAL": "true", "ENABLE_MEMORIES": "false"}
    found |= {
        # else it would not look at Chroma, which is in its image and keeps all in the volume
        "USE_SLIM_DOCKER": "false",
        "ANONYMIZED_TELEMETRY": "false",
        "RAG_EMBEDDING_MODEL": embedding,
        **_key_for("RAG_OPENAI_API_KEY", "RAG_OPENAI_API_BASE_URL", plan),
        "RAG_EMBEDDING_BATCH_SIZE": "32",
    }
    if reranker:
        found |= {
            # only what was found by words and by embeddings is ranked again
            "ENABLE_RAG_HYBRID_SEARCH": "true",
            "RAG_RERANKING_ENGINE": "external",
            "RAG_RERANKING_MODEL": reranker,
            "RAG_EXTERNAL_RERANKER_URL": f"{router}/rerank",
            **_key_for("RAG_EXTERNAL_RERANKER_API_KEY", "RAG_EXTERNAL_RERANKER_URL", plan),
        }
    return found


def _key_for(name: str, address: str, plan: WebUIPlan) -> dict[str, str | SecretText]:
    """The router's key, unless an address of somebody else is declared."""
    return {} if address in plan.spec.env else {name: SecretText.of(SecretName.ROUTER_MASTER_KEY)}


def _origins(plan: WebUIPlan, entry: EntryPlan | None) -> list[str]:
    """The addresses under which browsers may reach the web UI, the public one first."""
    port = plan.spec.port
    local = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    public = [plan.spec.url] if plan.spec.url else []
    return [*public, *(entry.urls if entry else ()), *local]


def _router_address(context: ServiceContext, plan: WebUIPlan) -> str:
    """The router by its container's name; through a link, where it is on another host."""
    router = context.plan.router
    if router.host == plan.host:
        return router_addresses(context, router, routers.port(router))[0]
    return linked_address(context, plan.host, router_name(context, router, 0))
