"""Proof that a deployment works: every service answers for real."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from deploy.artefacts import Artefacts
from deploy.live.acme import wait_for_certificate
from deploy.live.checks import (
    Check,
    chat,
    chat_in_web_ui,
    complete,
    embed,
    rerank,
    stream_chat,
    stream_completion,
)
from deploy.live.connection import Addresses, Connection, connect, container_address
from deploy.live.engine_questions import engine_question, expected_answer, patience
from deploy.live.entry import ask_entry, entry_base
from deploy.live.http import Base
from deploy.live.links import ask_end
from deploy.live.login import Login
from deploy.live.question import Question, Tell, answers
from deploy.live.ready import router_is_ready, sender_is_ready, web_ui_is_ready
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.services import engines, links, open_webui, routers, routes
from deploy.spec import SecretName


def verify(
    artefacts: Artefacts,
    logins: Mapping[str, Login] | None = None,
    addresses: Mapping[str, Addresses | None] | None = None,
    token: str = "",
    tell: Tell = str,
) -> Iterator[Check]:
    """Ask every engine, the entry, the router for every model, and the web UI.

    Args:
        artefacts: the deployment.
        logins: connections to its hosts that are open already, by name of the host.
        addresses: of the containers of hosts where they are known, by name of the host.
        token: of the web UI, where somebody has signed in already; see early_login.
        tell: is told every few seconds what is waited for.

    Raises:
        ConnectionFailedError: if a host's Docker does not answer.
        SecretError: if the deployment's secrets are not known here.
    """
    artefacts.secrets.require_kept()
    for check in _checks(artefacts, logins or {}, addresses or {}, token, tell):
        # a service may echo what it was sent
        yield replace(check, detail=artefacts.secrets.redact(check.detail))


def _checks(
    artefacts: Artefacts,
    logins: Mapping[str, Login],
    addresses: Mapping[str, Addresses | None],
    token: str,
    tell: Tell,
) -> Iterator[Check]:
    with ExitStack() as stack:
        hosts = {
            host.name: stack.enter_context(
                connect(
                    host,
                    logins.get(host.name),
                    addresses=addresses.get(host.name),
                    needs_docker=artefacts.stack.needs_docker(host.name),
                )
            )
            for host in artefacts.spec.hosts
        }
        questions = list(_questions(artefacts, hosts, token))
        yield from answers(in_turns(artefacts.plan, questions), tell)


def in_turns(plan: DeploymentPlan, questions: Iterable[Question]) -> list[list[Question]]:
    """What is asked one after the other: each alone, but for models that share an Ollama.

    Asked at the same time, those would be loaded for each question anew, and wait for each other.
    """
    shared = {replica.served_model_name: replica.engine.shared for replica in plan.replicas}
    turns: dict[str | int, list[Question]] = {}
    for index, question in enumerate(questions):
        turns.setdefault(shared.get(question.model) or index, []).append(question)
    return [sorted(each, key=lambda question: question.model) for each in turns.values()]


def _questions(
    artefacts: Artefacts, hosts: dict[str, Connection], token: str
) -> Iterator[Question]:
    yield from _link_questions(artefacts, hosts)
    for replica in artefacts.plan.replicas:
        yield engine_question(artefacts, replica, hosts)
    for router in artefacts.plan.routers:
        yield from _replica_questions(artefacts, router, hosts[router.host])
    entry = artefacts.plan.entry
    people: Base | None = None
    if entry:
        connection, renewal, is_trusted = hosts[entry.host], None, True
        if entry.spec.acme:
            renewal = wait_for_certificate(artefacts, connection)
            is_trusted = renewal is not None and renewal.issued
        ask = partial(ask_entry, artefacts, entry, connection, renewal)
        yield Question("entry", entry.host, ask)
        # what is behind it is asked all the same where it has no certificate yet
        people = entry_base(artefacts, entry, connection) if is_trusted else None
    for router in artefacts.plan.routers:
        yield from _router_questions(artefacts, router, hosts[router.host], people)
    if artefacts.plan.web_ui:
        connection = hosts[artefacts.plan.web_ui.host]
        yield from _web_ui_replica_questions(artefacts, connection)
        yield _web_ui_question(artefacts, connection, people, token)


def _link_questions(artefacts: Artefacts, hosts: dict[str, Connection]) -> Iterator[Question]:
    for end in artefacts.plan.links.certified if artefacts.plan.links else ():
        for name in links.holders(artefacts.context, end):
            asked = partial(ask_end, artefacts, end, name, hosts[end.host])
            yield Question(f"link {end.role}", end.host, asked)


def _router_questions(
    artefacts: Artefacts, router: RouterPlan, connection: Connection, people: Base | None
) -> Iterator[Question]:
    """The way that people take: through the entry where there is one that leads there.

    Of two routers, one completes and the main one does all else; the other one is asked, too, for
    what it answers at its own port.
    """
    plan = artefacts.plan
    key = artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY)
    url: Base | None = people if router in plan.routers_behind_entry else None
    url = url or connection.reach(loopback(str(router.spec.listen)), router.spec.port)
    who, host = _called(artefacts, router), router.host
    for model in router.models:
        replica = plan.replicas_of(model)[0]
        seconds = patience(plan, replica)
        for name, ask in _asked(artefacts, router, replica, (url, key, model)):
            yield Question(f"{who} {name}", host, partial(ask, seconds=seconds), model, seconds)


def _asked(
    artefacts: Artefacts, router: RouterPlan, replica: ReplicaPlan, asked: tuple[Base, str, str]
) -> Iterator[tuple[str, Callable[..., str]]]:
    """What a router is asked of one model, and what each question is called."""
    (url, key, model), plan = asked, artefacts.plan
    completes, does_all_else = router == plan.completing_router, plan.does_all_else(router)
    if replica.embeds and does_all_else:
        yield f"{model} embedding", partial(embed, *asked)
    if replica.reranks and does_all_else:
        yield f"{model} reranking", partial(rerank, *asked)
    for name in replica.lora_adapters if completes else ():
        yield f"{name} completion", partial(complete, url, key, name, None)
    if completes and engines.upstream(artefacts.context, replica).completes:
        expected = expected_answer(replica)
        yield f"{model} completion", partial(complete, *asked, expected)
        yield f"{model} streamed completion", partial(stream_completion, *asked, expected)
    if does_all_else and plan.is_for_chat(model):
        yield f"{model} chat", partial(chat, *asked)
        yield f"{model} streamed chat", partial(stream_chat, *asked)


def _called(artefacts: Artefacts, router: RouterPlan) -> str:
    """What a router is called; of two, by its own name."""
    return "router" if len(artefacts.plan.routers) == 1 else router.title


def _replica_questions(
    artefacts: Artefacts, router: RouterPlan, connection: Connection
) -> Iterator[Question]:
    """Every replica of a router, past the published port, and whether it reaches its database."""
    context, plan = artefacts.context, artefacts.plan
    key = artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY)
    if router.spec.replicas == 1 and plan.postgres is None:
        return
    for index, name in enumerate(routes.router_names(context, router)):

        def ask(name: str = name) -> str:
            address = container_address(connection, name, plan.name)
            url = connection.reach(address, routers.port(router))
            if router.spec.kind == "aristote":
                return sender_is_ready(url, key, list(router.models))
            return router_is_ready(url, key, has_database=plan.postgres is not None)

        yield Question(f"{_called(artefacts, router)} replica {index}", router.host, ask)


def _web_ui_replica_questions(artefacts: Artefacts, connection: Connection) -> Iterator[Question]:
    """Each of several web UIs, past the entry, which hands a login to one of them."""
    web_ui = artefacts.plan.web_ui
    if web_ui is None or web_ui.spec.replicas == 1:
        return
    for index in range(web_ui.spec.replicas):
        name = routes.web_ui_name(artefacts.context, index)

        def ask(name: str = name) -> str:
            address = container_address(connection, name, artefacts.plan.name)
            return web_ui_is_ready(connection.reach(address, open_webui.PORT))

        yield Question(f"web UI replica {index}", web_ui.host, ask)


def _web_ui_question(
    artefacts: Artefacts, connection: Connection, people: Base | None, token: str
) -> Question:
    web_ui = artefacts.plan.web_ui
    assert web_ui is not None  # noqa: S101 - asked for only where there is one
    password = artefacts.secrets.value(SecretName.WEB_UI_ADMIN_PASSWORD)
    url = people or connection.reach(loopback(str(web_ui.spec.listen)), web_ui.spec.port)
    model = artefacts.plan.default_model
    seconds = patience(artefacts.plan, artefacts.plan.replicas_of(model)[0])
    return Question(
        "web UI login and chat",
        web_ui.host,
        lambda: chat_in_web_ui(url, web_ui.spec.admin_email, password, model, token, seconds),
        model,
        seconds,
    )


def loopback(listen: str) -> str:
    """Where a host reaches itself what listens on an address."""
    return "127.0.0.1" if listen == "0.0.0.0" else listen  # noqa: S104 - compared, not bound
