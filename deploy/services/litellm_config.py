"""What LiteLLM is configured with: the models, how they are asked, and what its hooks need to know.

Settings: https://docs.litellm.ai/docs/proxy/config_settings
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.plan.stores import POOL
from deploy.render import render
from deploy.services import engines, postgres, valkey
from deploy.services.context import ServiceContext
from deploy.services.upstream import Api, Upstream
from deploy.spec.router import RouterSpec

STREAM_TIMEOUT_SECONDS = 60
STREAM_TIMEOUT_ON_CPU_SECONDS = 300
"""A prompt of 8000 tokens takes minutes to read, at 30 tokens/s and more."""
KEY = "engine-key"
"""Stands for the engines' key, which atelier_engine_keys.py puts in its place."""
PERSON_HEADER = "X-OpenWebUI-User-Email"
"""In which the web UI says who asks."""
COMPLETION_PRIORITY = -1
"""Of completions, unless another is declared: somebody waits for them while typing. Lower numbers
go first, and all else has 0."""


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
    has_responses: bool
    room: int
    """Requests that each router may have there at the same time."""
    mode: str
    """What LiteLLM calls what it does; empty of what writes text, which it does not ask for."""


PROVIDERS: dict[Api, str] = {"vllm": "hosted_vllm", "openai": "openai", "ollama": "ollama_chat"}
"""What LiteLLM calls each API.

LiteLLM makes a chat of what clients ask ``ollama_chat`` to complete, and drops the suffix. Of
``openai`` it hands both on as they are, to ``/v1/completions`` and ``/v1/chat/completions``.
"""


def _deployment(upstream: Upstream, replica: ReplicaPlan, routers: int) -> Deployment:
    path = "" if upstream.api == "ollama" else "/v1"
    return Deployment(
        name=upstream.name,
        model=upstream.model,
        provider=PROVIDERS[upstream.api],
        upstream_model=upstream.upstream_model,
        api_base=f"http://{upstream.address}{path}",
        has_key=upstream.has_key,
        has_responses=upstream.has_responses,
        room=math.ceil(replica.max_num_seqs / routers),
        mode="embedding" if replica.embeds else "rerank" if replica.reranks else "",
    )


def config_text(context: ServiceContext, plan: RouterPlan) -> str:
    """The configuration that LiteLLM reads."""
    router, replicas = plan.spec, _asked(context, plan)
    models = Counter(each.model for replica in replicas for each in _served(context, replica))
    return render(
        "litellm/config.yaml.j2",
        engine_key=KEY,
        replicas=[
            _deployment(each, replica, router.replicas)
            for replica in replicas
            for each in _served(context, replica)
        ],
        aliases=router.aliases,
        fallbacks=[{model: list(others)} for model, others in router.fallbacks.items()],
        prices=router.prices,
        num_retries=router.num_retries,
        request_timeout_seconds=router.request_timeout_seconds,
        request_log_days=router.request_log_days,
        stream_timeouts={
            each.name: _stream_timeout(router, replica)
            for replica in replicas
            for each in _served(context, replica)
        },
        connections=POOL,
        has_database=postgres.database_url(context, "litellm") is not None,
        shares_state=valkey.url(context) is not None,
        timeout_retries={
            model: min(router.num_retries, count - 1) for model, count in models.items()
        },
    )


def _asked(context: ServiceContext, plan: RouterPlan) -> list[ReplicaPlan]:
    """The replicas of the models that it answers for."""
    return [each for each in context.plan.replicas if each.served_model_name in plan.models]


def _served(context: ServiceContext, replica: ReplicaPlan) -> Iterator[Upstream]:
    """A replica under each of its names; LiteLLM wants a name of its own for each of those."""
    own = engines.upstream(context, replica)
    yield own
    for name in own.adapters:
        yield replace(own, name=f"{own.name}-{name}", model=name, upstream_model=name)


def _stream_timeout(router: RouterSpec, replica: ReplicaPlan) -> int:
    # in a shared Ollama it may wait for the load of its model
    is_soon = replica.gpus and not replica.engine.shared
    default = STREAM_TIMEOUT_SECONDS if is_soon else STREAM_TIMEOUT_ON_CPU_SECONDS
    return router.stream_timeout_seconds or default


def hook_settings(
    context: ServiceContext, plan: RouterPlan, routers: tuple[str, ...], finish_seconds: int
) -> str:
    """What the hooks need to know, as JSON.

    Args:
        context: the deployment.
        plan: the router.
        routers: addresses of all replicas of the router.
        finish_seconds: how long answers may go on that have begun when one of them ends.
    """
    spec = plan.spec
    settings = {
        "priorities": _priorities(context, plan),
        "recycling": spec.recycle_at
        and {
            "above_bytes": int(spec.recycle_at * spec.memory_limit),
            "limit_bytes": spec.memory_limit,
            "finish_seconds": finish_seconds,
            "routers": routers,
            "has_database": postgres.database_url(context, "litellm") is not None,
        },
        "web_ui": _web_ui(context, plan),
    }
    return json.dumps(settings, indent=2) + "\n"


def _web_ui(context: ServiceContext, plan: RouterPlan) -> dict[str, object] | None:
    """Who says who asks, where people have keys of their own, and it is the web UI's router."""
    web_ui = context.plan.web_ui
    if web_ui is None or context.plan.people is None or plan != context.plan.router:
        return None
    return {
        "header": PERSON_HEADER,
        "administrator": web_ui.spec.admin_email,
        "people_only": web_ui.spec.people_only,
    }


def _priorities(context: ServiceContext, plan: RouterPlan) -> dict[str, dict[str, int]]:
    """By name that clients ask for, of models whose engines know priorities."""
    spec = plan.spec
    names = [
        each.model
        for replica in _asked(context, plan)
        if replica.engine.scheduling_policy == "priority"
        for each in _served(context, replica)
    ]
    names += [alias for alias, model in spec.aliases.items() if model in names]
    return {
        "completions": {name: spec.priorities.get(name, COMPLETION_PRIORITY) for name in names},
        "others": {name: spec.priorities.get(name, 0) for name in names},
    }
