"""Aristote Dispatcher: what it cannot do, and what works in another way than one may expect.

Sources: https://github.com/CentraleSupelec/aristote-dispatcher, v1.4.3, and docs/aristote.md, where
each is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.errors import Problem
from deploy.plan.deployment_plan import ModelPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.plan.weights import ollama_name
from deploy.spec import DeploymentSpec
from deploy.spec.base import NAME

DOCS = "docs/aristote.md"
HIDDEN_START, HIDDEN_ENDS = "amq", ("completed", "private")
"""Queues that are called so are none of models' to Aristote: ``src/sender/models.py``."""


def aristote_problems(
    spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...], routers: tuple[RouterPlan, ...]
) -> Iterator[Problem]:
    """What Aristote has nothing for, or would do wrongly without a word."""
    router = next((each for each in routers if each.spec.kind == "aristote"), None)
    if router is None:
        return
    own = tuple(each for each in replicas if each.served_model_name in router.models)
    if spec.postgres is None:
        yield Problem(
            f"{router.setting}.kind",
            "'aristote' without a database: its users are there",
            "a deployment with PostgreSQL",
            "declare postgres=Postgres()",
        )
    if spec.main_router.kind == "aristote":
        yield from _web_ui_problems(spec)
    if spec.router_of("litellm") is None:
        yield from _lonely_problems(spec)
    yield from _model_problems(spec, router)
    yield from _host_problems(spec, own, router)
    yield from _mode_problems(own, router)
    yield from _strategy_problems(own, router)
    yield from _name_problems(spec, own)


def _web_ui_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    if spec.web_ui and spec.web_ui.people_only:
        yield Problem(
            "web_ui.people_only",
            "True, and Aristote is not told who asks in the web UI",
            "False, or kind 'litellm'",
            "remove people_only",
        )


def _lonely_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """What LiteLLM beside it would have."""
    if spec.entry and spec.entry.router_admin:
        yield Problem(
            "entry.router_admin",
            "True, and Aristote has no administration in a browser",
            "False, or kind 'litellm'",
            "remove router_admin and router_admin_networks",
        )
    if spec.limits.max_budget is not None:
        yield Problem(
            "limits.max_budget",
            "declared, and Aristote knows no budgets",
            "a budget with kind 'litellm'",
            "remove max_budget",
        )


def _model_problems(spec: DeploymentSpec, router: RouterPlan) -> Iterator[Problem]:
    for index, model in enumerate(spec.models):
        path, name = f"models[{index}]", model.served_name
        if name not in router.models:
            continue
        if name.startswith(HIDDEN_START) or name.endswith(HIDDEN_ENDS):
            yield Problem(
                f"{path}.served_model_name",
                f"{name!r}, which Aristote takes for a queue of its own and never offers",
                f"a name that neither begins with {HIDDEN_START!r} nor ends with"
                f" {' or '.join(map(repr, HIDDEN_ENDS))}",
                "declare another served_model_name",
            )
        if model.lora_adapters:
            yield Problem(
                f"{path}.lora_adapters",
                f"{', '.join(model.lora_adapters)}: Aristote has a queue for each model, and none"
                " for its adapters",
                "adapters with kind 'litellm'",
                "remove lora_adapters",
            )


def _name_problems(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """Aristote sends on the name that clients ask for: engines must know the model by it."""
    paths = {model.served_name: f"models[{index}]" for index, model in enumerate(spec.models)}
    for name, replica in {each.served_model_name: each for each in replicas}.items():
        own = _own_name(replica)
        if own != name:
            yield Problem(
                f"{paths[name]}.served_model_name",
                f"{name!r}, and {replica.engine.traits.title} calls the model {own!r}: Aristote"
                " sends names on as they are",
                "a model that its engine calls as clients do, as vLLM, SGLang and llama.cpp do",
                f"declare served_model_name={own!r}"
                if NAME.fullmatch(own)
                else "serve it with another engine, or with kind 'litellm'",
            )


def _own_name(replica: ReplicaPlan) -> str:
    """What an engine calls its model; see ``upstream`` of its module."""
    kind, weights = replica.engine.kind, replica.weights
    if kind == "ollama":
        return ollama_name(replica).removesuffix(":latest")
    if kind == "tgi":
        return "tgi"
    if kind == "tensorrt_llm":
        return weights.repository or PurePosixPath(weights.directory or "").name
    return replica.served_model_name


def _host_problems(
    spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...], router: RouterPlan
) -> Iterator[Problem]:
    names = [host.name for host in spec.hosts]
    with_engines = sorted({replica.host for replica in replicas})
    for host in router.spec.dispatch.organizations:
        path = f"{router.setting}.aristote.organizations.{host}"
        if host not in names:
            yield Problem(path, f"{host!r}, which is not declared", ", ".join(names))
        elif host not in with_engines:
            found = f"{host!r}, where no engine answers requests: it would change nothing"
            yield Problem(path, found, ", ".join(with_engines), "remove it")


def _mode_problems(replicas: tuple[ReplicaPlan, ...], router: RouterPlan) -> Iterator[Problem]:
    """Of an organisation without engines of a model, all requests for it would be refused."""
    settings = router.spec.dispatch
    if settings.routing_mode == "any":
        return
    names = dict.fromkeys(each.served_model_name for each in replicas)
    for name in names:
        hosts = [each.host for each in replicas if each.served_model_name == name]
        owners = sorted({settings.organization_of(host) for host in hosts})
        if settings.organization not in owners:
            yield Problem(
                f"{router.setting}.aristote.routing_mode",
                f"{settings.routing_mode!r}, and no engine of {name} is of"
                f" {settings.organization!r}: its requests would be refused",
                "'any'; or an organization with engines of every model",
                f"remove routing_mode, or declare organization, e.g. {owners[0]!r}",
            )


def _strategy_problems(replicas: tuple[ReplicaPlan, ...], router: RouterPlan) -> Iterator[Problem]:
    """With other engines all requests would go to one replica; ``least_busy.py``."""
    if router.spec.dispatch.routing_strategy != "least-busy":
        return
    others = sorted({each.engine.kind for each in replicas if each.engine.kind != "vllm"})
    if others:
        yield Problem(
            f"{router.setting}.aristote.routing_strategy",
            f"'least-busy' reads vLLM's metrics, and {', '.join(others)} has none of them: all"
            " requests would go to one replica",
            "'round-robin'; or 'least-busy' where vLLM serves every model",
            "remove routing_strategy",
        )


def aristote_warnings(
    spec: DeploymentSpec,
    replicas: tuple[ReplicaPlan, ...],
    models: tuple[ModelPlan, ...],
    routers: tuple[RouterPlan, ...],
) -> Iterator[str]:
    """What its users meet, and which of the declared settings do nothing."""
    router = next((each for each in routers if each.spec.kind == "aristote"), None)
    if router is None:
        return
    is_alone = len(routers) == 1
    yield (
        "Aristote answers every request that reached an engine with HTTP 200, also where the engine"
        f" refused it: clients must read the body, as atelier verify does ({DOCS})"
    )
    yield (
        "Aristote has no budgets, no limits of requests or tokens a minute, no models that only"
        " some keys may use, no other names for models, no second try at another replica"
        + ("; limits is not used" if is_alone else "")
    )
    if is_alone:
        yield from _completion_warnings(models)
    yield from _queue_warnings(router)
    replicas = tuple(each for each in replicas if each.served_model_name in router.models)
    counts = Counter(replica.served_model_name for replica in replicas)
    several = [name for name, count in counts.items() if count > 1]
    if several:
        yield (
            f"{', '.join(several)}: Aristote learns within 10 s that a replica is gone or back;"
            " until then requests that come to a missing one fail, also while it is replaced"
        )
    if is_alone and spec.valkey and not (spec.web_ui and spec.web_ui.replicas > 1):
        yield "valkey: Aristote does not use it; remove it unless the web UI needs it"


def _completion_warnings(models: tuple[ModelPlan, ...]) -> Iterator[str]:
    completing = [model.served_model_name for model in models if "completion" in model.roles]
    if completing:
        yield (
            f"{', '.join(completing)}: Aristote adds 35 to 100 ms to each request, and one sender"
            " takes 10 to 30 requests/s: too slow to complete code for many people while they type"
        )


def _queue_warnings(router: RouterPlan) -> Iterator[str]:
    settings, path = router.spec.dispatch, f"{router.setting}.aristote"
    if settings.max_parallel_requests is None:
        yield (
            f"{path}: without max_parallel_requests no request waits in Aristote's queues:"
            " neither priorities nor thresholds have an effect there"
        )
        return
    yield (
        f"{path}.max_parallel_requests: a request whose client has gone, from the queue or"
        " from a stream, holds its place of a replica until request_timeout_seconds"
        f" ({router.spec.request_timeout_seconds} s) are over: declare it as short as answers allow"
    )
    if "threshold" in settings.model_fields_set:
        yield (
            f"{path}.threshold counts messages in the queue; requests that wait for a"
            " replica are taken from it and put back each second, so that it may refuse none"
        )
