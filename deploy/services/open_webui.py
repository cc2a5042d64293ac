"""Open WebUI: chat in a browser, its data in a volume, its settings from here alone.

Variables: https://docs.openwebui.com/reference/env-configuration/
"""

from __future__ import annotations

from pathlib import PurePosixPath

from deploy.plan.deployment_plan import WebUIPlan
from deploy.services import litellm
from deploy.services.component import Component, Tier
from deploy.services.container import ContainerSpec, HealthCheck, Mount, Port
from deploy.services.context import ServiceContext
from deploy.services.health import http_check
from deploy.spec import SecretName

IMAGE = "open-webui"
PORT = 8080
DATA = PurePosixPath("/app/backend/data")


def volume_name(context: ServiceContext) -> str:
    """Name of the volume with users, chats and settings."""
    return f"{context.plan.name}-{IMAGE}"


def component(context: ServiceContext, plan: WebUIPlan) -> Component:
    """The container of the web UI."""
    image = context.images[IMAGE]
    return Component(
        host=plan.host,
        tier=Tier.WEB_UI,
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        container=ContainerSpec(
            name=context.container_name(IMAGE),
            service=IMAGE,
            image=image.reference,
            user=image.user,
            read_only=image.read_only,
            env=_environment(context, plan) | plan.spec.env,
            secret_env={
                "OPENAI_API_KEYS": SecretName.ROUTER_MASTER_KEY,
                "WEBUI_SECRET_KEY": SecretName.WEB_UI_SECRET_KEY,
                "WEBUI_ADMIN_PASSWORD": SecretName.WEB_UI_ADMIN_PASSWORD,
            },
            mounts={DATA: Mount(kind="volume", source=volume_name(context))},
            tmpfs=(PurePosixPath("/tmp"),),  # noqa: S108 - inside the container
            ports=(
                Port(host_ip=str(plan.spec.listen), host_port=plan.spec.port, container_port=PORT),
            ),
            network=context.plan.name,
            memory_bytes=plan.spec.memory_limit,
            healthcheck=HealthCheck(
                command=http_check(PORT, "/health"),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _environment(context: ServiceContext, plan: WebUIPlan) -> dict[str, str]:
    router = f"http://{litellm.container_name(context)}:{litellm.PORT}/v1"
    origins = _origins(plan)
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


def _origins(plan: WebUIPlan) -> list[str]:
    """The addresses under which browsers may reach the web UI, the public one first."""
    port = plan.spec.port
    local = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    return [plan.spec.url, *local] if plan.spec.url else local
