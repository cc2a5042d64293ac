"""Proof that a deployment works: every service answers for real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from docker.errors import NotFound

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.errors import Problem, ServiceError
from deploy.live.checks import Check, chat_in_web_ui, complete, run_check, stream_chat
from deploy.live.connection import Connection, connect
from deploy.live.ollama import gpu_share
from deploy.plan.deployment_plan import ReplicaPlan
from deploy.services import engines
from deploy.spec import SecretName


def verify(artefacts: Artefacts) -> Iterator[Check]:
    """Ask every engine, the router for every model, and the web UI.

    Raises:
        ConnectionFailedError: if a host's container engine does not answer.
        SecretError: if the deployment's secrets are not known here.
    """
    artefacts.secrets.require_kept()
    for check in _checks(artefacts):
        # a service may echo what it was sent
        yield replace(check, detail=artefacts.secrets.redact(check.detail))


def _checks(artefacts: Artefacts) -> Iterator[Check]:
    with ExitStack() as stack:
        hosts = {host.name: stack.enter_context(connect(host)) for host in artefacts.spec.hosts}
        for replica in artefacts.plan.replicas:
            yield from _check_engine(artefacts, replica, hosts)
        yield from _check_router(artefacts, hosts[artefacts.plan.router.host])
        if artefacts.plan.web_ui:
            yield _check_web_ui(artefacts, hosts[artefacts.plan.web_ui.host])


def _check_engine(
    artefacts: Artefacts, replica: ReplicaPlan, hosts: dict[str, Connection]
) -> Iterator[Check]:
    upstream = engines.upstream(artefacts.context, replica)
    key = artefacts.secrets.value(SecretName.ENGINE_API_KEY) if upstream.has_key else ""
    model = upstream.upstream_model

    def ask() -> str:
        url = _engine_url(artefacts, replica, hosts)
        if upstream.completes:
            return complete(url, key, model, _expected(replica))
        return stream_chat(url, key, model)

    def ask_where_it_runs() -> str:
        return gpu_share(_engine_url(artefacts, replica, hosts), model)

    yield run_check(f"engine {replica.served_model_name}", replica.host, ask)
    if replica.engine.kind == "ollama" and replica.gpus and replica.engine.keep_alive != "0":
        name = f"engine {replica.served_model_name} on its GPU"
        yield run_check(name, replica.host, ask_where_it_runs)


def _engine_url(artefacts: Artefacts, replica: ReplicaPlan, hosts: dict[str, Connection]) -> str:
    """The way that the router takes: from its host to a published port, or to a container."""
    plan = artefacts.plan
    if replica.port is not None:
        return hosts[plan.router.host].reach(plan.host(replica.host).address, replica.port)
    connection = hosts[replica.host]
    container = engines.container_name(artefacts.context, replica)
    address = _container_address(connection, container, plan.name)
    return connection.reach(address, engines.container_port(replica))


def _check_router(artefacts: Artefacts, connection: Connection) -> Iterator[Check]:
    router = artefacts.plan.router
    key = artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY)
    url = connection.reach(_loopback(str(router.spec.listen)), router.spec.port)
    for model in artefacts.plan.served_models:
        replica = artefacts.plan.replicas_of(model)[0]
        if engines.upstream(artefacts.context, replica).completes:
            ask = partial(complete, url, key, model, _expected(replica))
            yield run_check(f"router {model} completion", router.host, ask)
        if artefacts.plan.is_for_chat(model):
            chat = partial(stream_chat, url, key, model)
            yield run_check(f"router {model} streamed chat", router.host, chat)


def _check_web_ui(artefacts: Artefacts, connection: Connection) -> Check:
    web_ui = artefacts.plan.web_ui
    assert web_ui is not None  # noqa: S101 - asked for only where there is one
    password = artefacts.secrets.value(SecretName.WEB_UI_ADMIN_PASSWORD)
    url = connection.reach(_loopback(str(web_ui.spec.listen)), web_ui.spec.port)
    model = artefacts.plan.default_model
    return run_check(
        "web UI login and chat",
        web_ui.host,
        lambda: chat_in_web_ui(url, web_ui.spec.admin_email, password, model),
    )


def _container_address(connection: Connection, container: str, network: str) -> str:
    try:
        attributes = connection.client.containers.get(container).attrs
    except NotFound:
        raise ServiceError(Problem(container, "there is no such container")) from None
    return str(attributes["NetworkSettings"]["Networks"][network]["IPAddress"])


def _expected(replica: ReplicaPlan) -> str | None:
    """What the model is known to answer, if it is one of the catalogue's that is."""
    entry = load_catalog().models.get(replica.model)
    return (
        entry.known_answer
        if entry and replica.file and entry.sha256 == replica.file.sha256
        else None
    )


def _loopback(listen: str) -> str:
    return "127.0.0.1" if listen == "0.0.0.0" else listen  # noqa: S104 - compared, not bound
