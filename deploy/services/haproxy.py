"""HAProxy: where people come in, over TLS; behind it are the routers and the web UI.

Settings, servers and certificates that change are read while requests go on. It has the sockets
that people connect to from the listener: a new one starts beside the one before, which then takes
no new connections and ends with its last answer.

Settings: https://docs.haproxy.org/3.0/configuration.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.service_plans import EntryPlan
from deploy.render import render
from deploy.services import certbot, haproxy_watch, listener, open_webui
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import ServiceContext
from deploy.services.haproxy_backends import (
    Server,
    completing_backend,
    router_backend,
    servers,
)
from deploy.services.haproxy_watch import CONFIG_FILE, LONGEST_ANSWER_SECONDS
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile, ConfigTree
from deploy.services.link_files import AUTHORITY, HEADER, link_files
from deploy.services.link_files import CERTIFICATE as LINK_CERTIFICATE
from deploy.services.listener import PLAIN_PORT, TLS_PORT
from deploy.services.routes import web_ui_name
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretText
from deploy.spec.entry import EntrySpec
from deploy.spec.links import LinksSpec
from deploy.tls.pair import ENTRY_CERTIFICATE, ENTRY_KEY, LinkEnd

IMAGE = "haproxy"
CONFIG = PurePosixPath("/etc/haproxy")
CERTIFICATE, KEY = "entry.pem", "entry.pem.key"
"""HAProxy finds the key by this name."""
HEALTH_PORT, RUNTIME_PORT = 8404, 9999
"""Ports in the container, for the container itself."""
USER = 65534
"""Whom it becomes when it has read its key."""
CAPABILITIES = ("DAC_OVERRIDE", "KILL", "SETGID", "SETUID")
"""Its key may only be read by whoever deployed; then it becomes another user, whose processes root
ends when it stops or has read its files again."""
STOP_SECONDS = 20
"""How long answers may go on that have begun when it stops."""
SPARE_SECONDS = 60
"""Beyond the router's own time-outs, so that it is the router that says what took too long."""
API = tuple(
    f"/v1/{path}"
    for path in (
        *("models", "chat/completions", "completions", "embeddings", "responses", "messages"),
        *("rerank", "moderations", "audio", "images", "realtime"),
    )
)
"""What programs may ask of the router; its administration has paths below /v1, too."""
COMPLETIONS_PATH = "/v1/completions"
"""What editors ask while people type. Where LiteLLM stands beside the main router it takes these:
by the path, because the name of the model is in a body that may be larger than any buffer."""
ADMIN = tuple(
    f"/{path}"
    for path in (
        *("ui", "key", "user", "team", "organization", "customer", "end_user", "budget", "spend"),
        *("global", "model", "model_group", "config", "credentials", "sso", "login", "fallback"),
        *("get", "tag", "audit", "guardrails", "policies", "invitation", "onboarding", "v2"),
        *("litellm", "litellm-asset-prefix", "get_image", "get_logo_url", "get_favicon"),
    )
)
"""Paths of LiteLLM's administration; Open WebUI has none of them."""


def container_name(context: ServiceContext) -> str:
    """Name of the entry's container."""
    return context.container_name(IMAGE)


def units(context: ServiceContext) -> Iterator[Unit]:
    """The entry, where there is one."""
    plan = context.plan.entry
    if plan is None:
        return
    config = context.config_tree(
        plan.host, IMAGE, _files(context, plan), haproxy_watch.watch(CONFIG)
    )
    mounts = listener.shared_mount(context, read_only=True)
    if plan.spec.acme:
        mounts |= certbot.served_mount(context)
    yield Unit(
        host=plan.host,
        tier=Tier.ENTRY,
        serves="entry",
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        runs=context.container(
            container_name(context), IMAGE, IMAGE, **fields(config, mounts, plan.spec)
        ),
    )


def fields(
    config: ConfigTree, mounts: Mapping[PurePosixPath, Mount], spec: EntrySpec | LinksSpec
) -> dict[str, Any]:
    """What the containers of HAProxy have in common: another one may run next to each.

    Args:
        config: its files.
        mounts: what else it sees; its listener is there.
        spec: how it is declared.
    """
    own = {CONFIG: Mount(kind="bind", source=str(config.root), read_only=True)}
    return {
        "entrypoint": "sh",
        "command": haproxy_watch.command(CONFIG, STOP_SECONDS, listener.SOCKET),
        "mounts": {**own, **mounts},
        "memory_bytes": spec.memory_limit,
        "cap_add": CAPABILITIES,
        "stop_timeout_seconds": STOP_SECONDS + 5,
        "gives_way": True,
        "healthcheck": HealthCheck(
            command=f"{http_check(HEALTH_PORT, '/health')} && {haproxy_watch.HEARS}",
            start_period_seconds=spec.start_timeout_seconds,
        ),
    }


def _files(context: ServiceContext, plan: EntryPlan) -> dict[str, ConfigFile]:
    """Its configuration, and the certificate unless that is issued meanwhile."""
    files = {CONFIG_FILE: ConfigFile(content=_config(context, plan))}
    if plan.spec.acme is None:
        # Atelier's own has another text in each run until it is kept, but the same name
        certificate = context.site_certificate or SecretText.of(ENTRY_CERTIFICATE)
        files[CERTIFICATE] = ConfigFile(content=certificate)
        files[KEY] = ConfigFile(content=SecretText.of(ENTRY_KEY), mode=0o600)
    links = context.plan.links
    if links and any(hop.asks == "entry" for hop in links.hops):
        files |= link_files(LinkEnd(plan.host, "client"))
    return files


def _config(context: ServiceContext, plan: EntryPlan) -> str:
    spec = plan.spec
    return render(
        "haproxy/haproxy.cfg.j2",
        uid=USER,
        certificate=certbot.CERTIFICATE if spec.acme else CERTIFICATE,
        acme=_acme(context, plan),
        plain_port=PLAIN_PORT,
        tls_port=TLS_PORT,
        health_port=HEALTH_PORT,
        runtime_port=RUNTIME_PORT,
        port_suffix="" if spec.https_port == 443 else f":{spec.https_port}",
        longest_answer_seconds=LONGEST_ANSWER_SECONDS,
        silent_seconds=context.plan.request_timeout_seconds + SPARE_SECONDS,
        connections=spec.connections,
        requests_per_minute=spec.requests_per_minute,
        api=API,
        admin=ADMIN,
        admin_networks=spec.router_admin_networks,
        completions=COMPLETIONS_PATH,
        routers=router_backend(context, plan, context.plan.router),
        completing=completing_backend(context, plan),
        web_uis=_web_uis(context, plan),
        link={"certificate": LINK_CERTIFICATE, "authority": AUTHORITY, "header": HEADER},
        errors=_errors(spec),
    )


def _acme(context: ServiceContext, plan: EntryPlan) -> dict[str, object] | None:
    """Where an authority is led to, and where a certificate is taken from without a restart."""
    if plan.spec.acme is None:
        return None
    name = certbot.container_name(context)
    server = Server("certbot", f"{name}:{certbot.PORT}")
    return {"server": server, "socket": certbot.SOCKET}


def _web_uis(context: ServiceContext, plan: EntryPlan) -> list[Server]:
    """Every replica of the web UI."""
    web_ui = context.plan.web_ui
    if web_ui is None:
        return []
    names = [web_ui_name(context, index) for index in range(web_ui.spec.replicas)]
    return servers(context, plan, web_ui.host, names, open_webui.PORT)


def _errors(spec: EntrySpec) -> dict[str, str]:
    return {
        "requests": quoted_error(
            f"This address has sent more than {spec.requests_per_minute} requests within a minute."
            " Wait a few seconds, then send fewer.",
            "rate_limit_error",
            "rate_limit_exceeded",
        ),
        "connections": quoted_error(
            f"This address has more than {spec.connections} connections open at the same time."
            " Close some.",
            "rate_limit_error",
            "too_many_connections",
        ),
        "path": quoted_error(
            "The path of this request has a part of two dots.", "invalid_request_error", "bad_path"
        ),
        "unknown": quoted_error(
            "Nothing is served at this path. The API is at /v1/chat/completions, /v1/completions,"
            " /v1/messages, /v1/models and others of OpenAI.",
            "invalid_request_error",
            "unknown_url",
        ),
        "admin": quoted_error(
            "The administration of the router is not served to this address.",
            "permission_error",
            "forbidden",
        ),
        "no_router": quoted_error(
            "No router answers. Try again in a few seconds.", "server_error", "service_unavailable"
        ),
    }


def quoted_error(message: str, kind: str, code: str) -> str:
    """An error in the shape of OpenAI's, in quotes as the configuration wants it.

    https://platform.openai.com/docs/guides/error-codes
    """
    text = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    return f"'{text}'"
