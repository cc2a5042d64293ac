"""Proof that a deployment works: every service answers for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.live.acme import wait_for_certificate
from deploy.live.checks import (
    Answer,
    Check,
    chat,
    chat_in_web_ui,
    complete,
    embed,
    rerank,
    router_is_ready,
    run_check,
    sender_is_ready,
    stream_chat,
    stream_completion,
    web_ui_is_ready,
)
from deploy.live.connection import Addresses, Connection, connect, container_address
from deploy.live.entry import ask_entry, entry_base
from deploy.live.http import Base
from deploy.live.kv_cache import kv_cache_text, kv_cache_warning, read_kv_cache
from deploy.live.links import ask_end
from deploy.live.login import Login
from deploy.live.metal import metal_device
from deploy.live.ollama import answer_and_share
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.services import engines, links, llama_cpp, open_webui, routers, routes
from deploy.services.upstream import Upstream
from deploy.spec import SecretName

AT_ONCE = 8
"""How many questions are asked at the same time."""


@dataclass(frozen=True)
class Question:
    """What is asked of a service."""

    name: str
    host: str
    ask: Callable[[], str | Answer]
    """Returns what was answered; see run_check."""


def verify(
    artefacts: Artefacts,
    logins: Mapping[str, Login] | None = None,
    addresses: Mapping[str, Addresses | None] | None = None,
    token: str = "",
) -> Iterator[Check]:
    """Ask every engine, the entry, the router for every model, and the web UI.

    Args:
        artefacts: the deployment.
        logins: connections to its hosts that are open already, by name of the host.
        addresses: of the containers of hosts where they are known, by name of the host.
        token: of the web UI, where somebody has signed in already; see early_login.

    Raises:
        ConnectionFailedError: if a host's Docker does not answer.
        SecretError: if the deployment's secrets are not known here.
    """
    artefacts.secrets.require_kept()
    for check in _checks(artefacts, logins or {}, addresses or {}, token):
        # a service may echo what it was sent
        yield replace(check, detail=artefacts.secrets.redact(check.detail))


def _checks(
    artefacts: Artefacts,
    logins: Mapping[str, Login],
    addresses: Mapping[str, Addresses | None],
    token: str,
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
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        yield from pool.map(lambda asked: run_check(asked.name, asked.host, asked.ask), questions)


def _questions(
    artefacts: Artefacts, hosts: dict[str, Connection], token: str
) -> Iterator[Question]:
    yield from _link_questions(artefacts, hosts)
    for replica in artefacts.plan.replicas:
        yield _engine_question(artefacts, replica, hosts)
    for router in artefacts.plan.routers:
        yield from _replica_questions(artefacts, router, hosts[router.host])
    entry = artefacts.plan.entry
    people: Base | None = None
    if entry:
        connection, renewal, is_believed = hosts[entry.host], None, True
        if entry.spec.acme:
            renewal = wait_for_certificate(artefacts, connection)
            is_believed = renewal is not None and renewal.issued
        ask = partial(ask_entry, artefacts, entry, connection, renewal)
        yield Question("entry", entry.host, ask)
        # what is behind it is asked all the same where it has no certificate yet
        people = entry_base(artefacts, entry, connection) if is_believed else None
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


def _engine_question(
    artefacts: Artefacts, replica: ReplicaPlan, hosts: dict[str, Connection]
) -> Question:
    upstream = engines.upstream(artefacts.context, replica)
    key = artefacts.secrets.value(SecretName.ENGINE_API_KEY) if upstream.has_key else ""
    model = upstream.upstream_model

    ask_at = partial(_ask_engine, replica, upstream, key)

    def ask() -> str | Answer:
        url = engine_url(artefacts, replica, hosts)
        if replica.engine.kind == "ollama" and replica.gpus and replica.engine.keep_alive != "0":
            # only a model that has just answered is loaded for sure
            return answer_and_share(partial(ask_at, url), url, model, replica)
        answer = ask_at(url)
        if replica.engine.traits.shares_cache:
            return _with_kv_cache(answer, upstream.name, replica, hosts[replica.host])
        if replica.engine.kind == "llama_cpp" and replica.gpu_vendor == "apple":
            return f"{answer}; by Metal, on {_metal(artefacts, replica, hosts[replica.host])}"
        return answer

    return Question(f"engine {replica.served_model_name}", replica.host, ask)


def _ask_engine(replica: ReplicaPlan, upstream: Upstream, key: str, url: str) -> str:
    model = upstream.upstream_model
    if replica.embeds:
        return embed(url, key, model)
    if replica.reranks:
        return rerank(url, key, model)
    if upstream.completes:
        return complete(url, key, model, _expected(replica))
    return stream_chat(url, key, model)


def _metal(artefacts: Artefacts, replica: ReplicaPlan, host: Connection) -> str:
    """The GPU that a replica of llama.cpp on a Mac sees."""
    program = artefacts.context.program(replica.host, llama_cpp.PROGRAM)
    name = engines.container_name(artefacts.context, replica)
    return metal_device(host, str(program.path), name)


def _with_kv_cache(answer: str, name: str, replica: ReplicaPlan, host: Connection) -> Answer:
    """What an engine answered, and the KV cache that it has for more."""
    found, planned = read_kv_cache(host, name, replica), replica.kv_cache_tokens
    if found is None:
        return Answer(answer)
    warning = kv_cache_warning(found, planned, replica.engine.traits.title)
    return Answer(f"{answer}; {kv_cache_text(found, planned)}", warning)


def engine_url(artefacts: Artefacts, replica: ReplicaPlan, hosts: dict[str, Connection]) -> str:
    """The way that the router takes: through a link, to a port of the host, or to a container."""
    plan = artefacts.plan
    if replica.is_linked:
        client = routes.link_client_name(artefacts.context, plan.router.host)
        router = hosts[plan.router.host]
        url = router.reach(container_address(router, client, plan.name), routes.LINK_PORT)
        return f"{url}/{engines.container_name(artefacts.context, replica)}"
    if replica.port is not None:
        return hosts[plan.router.host].reach(plan.host(replica.host).address, replica.port)
    connection = hosts[replica.host]
    container = engines.container_name(artefacts.context, replica)
    address = container_address(connection, container, plan.name)
    return connection.reach(address, engines.container_port(replica))


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
        asked = (url, key, model)
        for name, ask in _asked(artefacts, router, plan.replicas_of(model)[0], asked):
            yield Question(f"{who} {name}", host, ask)


def _asked(
    artefacts: Artefacts, router: RouterPlan, replica: ReplicaPlan, asked: tuple[Base, str, str]
) -> Iterator[tuple[str, Callable[[], str]]]:
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
        expected = _expected(replica)
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
        name = open_webui.container_name(artefacts.context, index)

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
    return Question(
        "web UI login and chat",
        web_ui.host,
        lambda: chat_in_web_ui(url, web_ui.spec.admin_email, password, model, token),
    )


def _expected(replica: ReplicaPlan) -> str | None:
    """What the model is known to answer, if it is one of the catalogue's that is."""
    entry = load_catalog().models.get(replica.model)
    return (
        entry.known_answer
        if entry and replica.file and entry.sha256 == replica.file.sha256
        else None
    )


def loopback(listen: str) -> str:
    """Where a host reaches itself what listens on an address."""
    return "127.0.0.1" if listen == "0.0.0.0" else listen  # noqa: S104 - compared, not bound
