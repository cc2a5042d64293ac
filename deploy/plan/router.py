"""Other names of models, and who stands in for whom: only among models that are served."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Problem
from deploy.spec import DeploymentSpec


def router_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """Aliases, fallbacks and prices of models that there are not."""
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


def _unknown(path: str, model: str, served: list[str]) -> Iterator[Problem]:
    if model not in served:
        yield Problem(path, f"{model!r}, which is not served", ", ".join(served))
