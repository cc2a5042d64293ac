"""Other names of models, who stands in for whom and goes first: only among served models."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Problem
from deploy.spec import DeploymentSpec


def router_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """Aliases, fallbacks, prices and priorities of models that there are not."""
    served = [model.served_name for model in spec.models]
    router = spec.router
    for alias, model in router.aliases.items():
        if alias in served:
            yield Problem(
                f"router.aliases.{alias}", f"{alias!r} is a served model itself", "another name"
            )
        yield from _unknown(f"router.aliases.{alias}", model, served)
    for model, others in router.fallbacks.items():
        yield from _unknown("router.fallbacks", model, served)
        for other in others:
            yield from _unknown(f"router.fallbacks.{model}", other, served)
            if other == model:
                yield Problem(
                    f"router.fallbacks.{model}", f"{model!r} falls back on itself", "other models"
                )
    for model in router.prices:
        yield from _unknown("router.prices", model, served)
    yield from _priority_problems(spec)


def _priority_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """Priorities of names that no one can ask for, or whose engine knows none."""
    policies = {
        name: spec.engine_of(model).scheduling_policy
        for model in spec.models
        for name in (model.served_name, *model.lora_adapters)
    }
    for name in spec.router.priorities:
        path = f"router.priorities.{name}"
        model = spec.router.aliases.get(name, name)
        if model not in policies:
            yield Problem(
                path,
                f"{name!r}, which is neither a served model nor an alias",
                ", ".join([*policies, *spec.router.aliases]),
            )
        elif policies[model] != "priority":
            yield Problem(
                path,
                f"the engine of {model!r} answers who came first",
                "models that vLLM or SGLang serves by priority",
                f"declare engine=Engine(kind='vllm', scheduling_policy='priority') for {model!r}",
            )


def _unknown(path: str, model: str, served: list[str]) -> Iterator[Problem]:
    if model not in served:
        yield Problem(path, f"{model!r}, which is not served", ", ".join(served))
