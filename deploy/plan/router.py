"""Other names of models, who stands in for whom and goes first: only among served models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.errors import Problem
from deploy.plan.service_plans import RouterPlan
from deploy.spec import DeploymentSpec


def router_problems(spec: DeploymentSpec, routers: tuple[RouterPlan, ...]) -> Iterator[Problem]:
    """Aliases, fallbacks, prices and priorities of models that LiteLLM does not answer for."""
    plan = next((each for each in routers if each.spec.kind == "litellm"), None)
    if plan is None:
        return
    served, router, path = plan.models, plan.spec, plan.setting
    who = "" if len(routers) == 1 else " by LiteLLM"
    for alias, model in router.aliases.items():
        if alias in [each.served_name for each in spec.models]:
            yield Problem(
                f"{path}.aliases.{alias}", f"{alias!r} is a served model itself", "another name"
            )
        yield from _unknown(f"{path}.aliases.{alias}", model, served, who)
    for model, others in router.fallbacks.items():
        yield from _unknown(f"{path}.fallbacks", model, served, who)
        for other in others:
            yield from _unknown(f"{path}.fallbacks.{model}", other, served, who)
            if other == model:
                yield Problem(
                    f"{path}.fallbacks.{model}", f"{model!r} falls back on itself", "other models"
                )
    for model in router.prices:
        yield from _unknown(f"{path}.prices", model, served, who)
    yield from _priority_problems(spec, plan)


def _priority_problems(spec: DeploymentSpec, plan: RouterPlan) -> Iterator[Problem]:
    """Priorities of names that no one can ask for, or whose engine knows none."""
    aliases = plan.spec.aliases
    policies = {
        name: spec.engine_of(model).scheduling_policy
        for model in spec.models
        if model.served_name in plan.models
        for name in (model.served_name, *model.lora_adapters)
    }
    for name in plan.spec.priorities:
        path = f"{plan.setting}.priorities.{name}"
        model = aliases.get(name, name)
        if model not in policies:
            yield Problem(
                path,
                f"{name!r}, which is neither a served model nor an alias",
                ", ".join([*policies, *aliases]),
            )
        elif policies[model] != "priority":
            yield Problem(
                path,
                f"the engine of {model!r} answers who came first",
                "models that vLLM or SGLang serves by priority",
                f"declare engine=Engine(kind='vllm', scheduling_policy='priority') for {model!r}",
            )


def _unknown(path: str, model: str, served: Sequence[str], who: str) -> Iterator[Problem]:
    if model not in served:
        yield Problem(path, f"{model!r}, which is not served{who}", ", ".join(served))
