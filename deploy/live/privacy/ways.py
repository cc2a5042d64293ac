"""The doors of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from deploy.artefacts import Artefacts
from deploy.live.connection import container_address
from deploy.live.entry import entry_base
from deploy.live.http import Base
from deploy.live.privacy import browsers
from deploy.live.privacy.doors import Door, Use
from deploy.live.privacy.look import Look, WebUI
from deploy.live.privacy.needles import Needles
from deploy.live.verify import loopback
from deploy.live.web_ui import sign_in
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.services import engines, routers, routes
from deploy.spec import SecretName


def find_doors(look: Look) -> Iterator[Door]:
    """Every replica of the router, the entry, and the web UI.

    Raises:
        ServiceError: if one of them is not there, or refuses the login.
    """
    artefacts, plan = look.artefacts, look.artefacts.plan
    for router in plan.routers:
        connection, who = look.hosts[router.host], "router"
        if len(plan.routers) > 1:
            who = router.title
        door, others = _door(artefacts, router, router), tuple(_others(artefacts, router))
        for index, name in enumerate(routes.router_names(artefacts.context, router)):
            address = container_address(connection, name, plan.name)
            # the engines are the same, whichever replica asks them
            asked = door(f"{who} {index}", connection.reach(address, routers.port(router)))
            yield asked if index else replace(asked, others=others)
    people: Base | None = None
    if plan.entry:
        people = entry_base(artefacts, plan.entry, look.hosts[plan.entry.host])
        yield _door(artefacts, plan.router, plan.completing_router)("entry", people)
    if plan.web_ui:
        chat, web_ui = plan.default_model, _sign_in(look, people)
        limit = _longest(artefacts, chat)
        yield Door(
            *("web UI", web_ui.base, web_ui.token, chat, None, limit),
            chat_path=browsers.CHAT,
            is_router=False,
        )


def _door(
    artefacts: Artefacts, chats: RouterPlan, completes: RouterPlan
) -> Callable[[str, Base], Door]:
    """What makes a door of a name and an address.

    Args:
        artefacts: the deployment.
        chats: the router that answers chats there.
        completes: the one that answers completions.
    """
    chat = artefacts.plan.default_model
    model = chat if chat in chats.models else chats.models[0]
    completing = [name for name in completes.models if _completes(artefacts, name)]
    return partial(
        Door,
        key=artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY),
        model=model,
        completion_model=next(iter(completing), None),
        max_model_len=_longest(artefacts, model),
    )


def _others(artefacts: Artefacts, router: RouterPlan) -> Iterator[tuple[str, Use]]:
    """Every model of a router, and what it is for."""
    for model in router.models:
        replica: ReplicaPlan = artefacts.plan.replicas_of(model)[0]
        if replica.embeds:
            yield model, "embedding"
        elif replica.reranks:
            yield model, "rerank"
        elif artefacts.plan.is_for_chat(model) or not _completes(artefacts, model):
            yield model, "chat"
        else:
            yield model, "completion"


def _longest(artefacts: Artefacts, model: str) -> int:
    return max(replica.max_model_len for replica in artefacts.plan.replicas_of(model))


def _completes(artefacts: Artefacts, model: str) -> bool:
    replica: ReplicaPlan = artefacts.plan.replicas_of(model)[0]
    return replica.writes and engines.upstream(artefacts.context, replica).completes


def _sign_in(look: Look, people: Base | None) -> WebUI:
    """Sign in to the web UI; its token is looked for, too."""
    plan = look.artefacts.plan.web_ui
    assert plan is not None  # noqa: S101 - asked for only where there is one
    password = look.artefacts.secrets.value(SecretName.WEB_UI_ADMIN_PASSWORD)
    here = loopback(str(plan.spec.listen))
    base = people or look.hosts[plan.host].reach(here, plan.spec.port)
    token = sign_in(base, plan.spec.admin_email, password)
    look.needles = Needles(look.needles.mark, {**look.needles.keys, "web UI token": token})
    look.web_ui = WebUI(base, token)
    return look.web_ui
