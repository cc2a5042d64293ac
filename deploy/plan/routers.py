"""Which router answers for which models, and why that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.errors import Problem
from deploy.plan.people_plan import PeoplePlan
from deploy.plan.service_plans import RouterPlan
from deploy.spec import DeploymentSpec
from deploy.spec.router import RouterSpec

DOCS = "docs/routers.md"
COMPLETES_ONLY = {"completion"}
Roles = Mapping[str, tuple[str, ...]]
"""What each model is for, by the name that it is served under."""


def router_plans(spec: DeploymentSpec, roles: Roles) -> tuple[RouterPlan, ...]:
    """Every router, the main one first.

    Args:
        spec: the deployment.
        roles: of every served model, in the order of declaration.
    """
    return tuple(
        RouterPlan(
            host=spec.router_host,
            spec=router,
            setting=setting,
            models=tuple(_models(spec, router, roles)),
        )
        for setting, router in spec.router_settings()
    )


def _models(spec: DeploymentSpec, router: RouterSpec, roles: Roles) -> list[str]:
    """What is declared; else completing goes past Aristote, which is too slow to type with."""
    names = list(roles)
    if router.models is not None:
        return [name for name in names if name in router.models]
    if len(spec.all_routers) == 1:
        return names
    if router.kind == "aristote":
        return [name for name in names if not _only_completes(roles[name])]
    if router is spec.main_router:
        return names
    return [name for name in names if "completion" in roles[name]]


def _only_completes(roles: tuple[str, ...]) -> bool:
    return {*roles} == COMPLETES_ONLY


def side_by_side_problems(
    spec: DeploymentSpec, routers: tuple[RouterPlan, ...], roles: Roles
) -> Iterator[Problem]:
    """Models that requests would not find, routers without any, a web UI without one for chat."""
    for router in routers:
        for name in router.spec.models or ():
            if name not in roles:
                found = f"{name!r}, which is not served"
                yield Problem(f"{router.setting}.models", found, ", ".join(roles))
        if not router.models and not router.spec.models:
            yield Problem(
                router.setting,
                f"{router.title} would answer for no model",
                "models that complete code for LiteLLM, others for Aristote",
                f"remove it, or declare {router.setting}.models",
            )
    if len(routers) > 1:
        yield from _lost(routers, roles)
        yield from _nothing_to_chat_with(spec, routers[0], roles)


def _lost(routers: tuple[RouterPlan, ...], roles: Roles) -> Iterator[Problem]:
    """The main router is asked everything, but LiteLLM to complete."""
    main = routers[0]
    litellm = next(router for router in routers if router.spec.kind == "litellm")
    for name, own in roles.items():
        if name not in main.models and not _only_completes(own):
            yield Problem(
                f"{main.setting}.models",
                f"without {name!r}, and {main.title} is the main router, which the web UI and the"
                " entry ask for it",
                "every model but those that only complete code",
                f"add {name!r}, or declare the other router first",
            )
        if name not in litellm.models and "completion" in own:
            yield Problem(
                f"{litellm.setting}.models",
                f"without {name!r}, and requests to complete code go to LiteLLM",
                "every model that completes code",
                f"add {name!r}, or declare roles without 'completion' for it",
            )


def _nothing_to_chat_with(
    spec: DeploymentSpec, main: RouterPlan, roles: Roles
) -> Iterator[Problem]:
    """A web UI asks the main router, whose other models only search or complete."""
    is_for_chat = any("chat" in roles[name] for name in main.models)
    if spec.web_ui and main.models and main.spec.kind == "aristote" and not is_for_chat:
        yield Problem(
            "web_ui",
            f"declared, and {main.title}, the main router, which it asks, has no model for chat",
            "a model for chat, or a deployment without a web UI",
            "declare web_ui=None, or LiteLLM first",
        )


def side_by_side_warnings(
    routers: tuple[RouterPlan, ...], people: PeoplePlan | None
) -> Iterator[str]:
    """Who is asked what, and which limits hold where."""
    if len(routers) == 1:
        return
    main, other = routers
    if main.spec.kind == "aristote":
        yield (
            f"LiteLLM completes code ({', '.join(other.models)}), Aristote does all else"
            f" ({', '.join(main.models)}): the entry sends /v1/completions to LiteLLM ({DOCS})"
        )
        hidden = [name for name in other.models if name not in main.models]
        if hidden:
            yield (
                f"{', '.join(hidden)}: not in what /v1/models lists at the entry, which is"
                " Aristote's list; clients name the model themselves"
            )
    else:
        yield (
            f"LiteLLM is the main router: Aristote ({', '.join(other.models)}) is asked at its own"
            f" port, {other.spec.port}, alone; the entry does not lead there ({DOCS})"
        )
    if people and people.has_limits:
        yield (
            "limits, budgets, models and the end of a key hold at LiteLLM alone: Aristote answers"
            f" everybody with a key for {', '.join(_of_aristote(routers))}"
        )


def _of_aristote(routers: tuple[RouterPlan, ...]) -> tuple[str, ...]:
    return next(router.models for router in routers if router.spec.kind == "aristote")
