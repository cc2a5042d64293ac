"""Links: requests from one host of a deployment to another, over mutual TLS between HAProxy's.

Settings: https://docs.haproxy.org/3.0/configuration.html

Routers, and a web UI on another host than theirs, ask the client, a container next to them, for
``/<name>/...``, where the name is that of the container that is to answer. The client goes to the
server on that one's host with its certificate, asks for that host's, and the server hands the
request on. An entry is HAProxy itself: it goes to the server without a client in between, and names
the container in a header. What is behind a server needs no port on its host. Certificates and
containers come and go while requests go on: all ends read their files again when they have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.plan.addresses import host_and_port
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import LinksPlan
from deploy.render import render
from deploy.services import engines, haproxy, haproxy_watch, link_places, listener
from deploy.services.container_parts import Port
from deploy.services.context import ServiceContext
from deploy.services.haproxy import CONFIG, IMAGE, SPARE_SECONDS, quoted_error
from deploy.services.haproxy_watch import CONFIG_FILE, LONGEST_ANSWER_SECONDS
from deploy.services.host_files import ConfigFile
from deploy.services.link_files import AUTHORITY, CERTIFICATE, HEADER, link_files
from deploy.services.link_places import Place
from deploy.services.link_targets import Target, targets
from deploy.services.routes import (
    LINK_CLIENT,
    LINK_PORT,
    from_routers,
    link_client_name,
    link_listener,
    together,
)
from deploy.services.unit import Route, Tier, Unit
from deploy.tls.pair import LinkEnd, Role, plain_name

SERVER = "link-server"
TLS_PORT = 8443
"""Where the server listens in its container."""
SERVER_RETRIES, CLIENT_RETRIES = 3, 0
"""A second apart. An engine that was just made anew has another address for a moment; a host that
is gone is not waited for twice, 5 s each time: there may be another replica."""


@dataclass(frozen=True)
class Backend:
    """Where requests to some containers go."""

    name: str
    names: tuple[str, ...]
    """The containers."""
    address: str
    """Host and port."""
    shows: str = ""
    """The name in the certificate that is asked for there."""
    clients: tuple[str, ...] = ()
    """The names in the certificates of those who may ask."""
    is_container: bool = True
    """Whether its host is the name of a container, whose address changes."""
    is_tried_elsewhere: bool = False
    """Whether an entry hands what it cannot hand on to another one of its kind."""


def holders(context: ServiceContext, end: LinkEnd) -> tuple[str, ...]:
    """Names of the containers that have an end's certificate."""
    plan = context.plan.links
    if plan is None:
        return ()
    if end.role == "server":
        return (server_name(context, end.host),)
    found = []
    if _asked_from(context, plan, end.host):
        found.append(link_client_name(context, end.host))
    if any((hop.asks, hop.client) == ("entry", end.host) for hop in plan.hops):
        found.append(haproxy.container_name(context))
    return tuple(found)


def server_name(context: ServiceContext, host: str) -> str:
    """Name of the container that takes a host's requests from others."""
    return context.container_name(SERVER, plain_name(host))


def units(context: ServiceContext) -> Iterator[Unit]:
    """A server on each host that another one asks, and a client where no entry is who asks."""
    plan = context.plan.links
    if plan is None:
        return
    for host in plan.ends:
        behind = [each for each in targets(context, plan) if each.host == host]
        yield from _server(context, plan, host, behind)
    for end in plan.certified:
        if end.role == "client" and (asked := _asked_from(context, plan, end.host)):
            yield from _client(context, plan, end, asked)


def _asked_from(context: ServiceContext, plan: LinksPlan, host: str) -> list[Target]:
    """What a host asks through its client."""
    return [each for each in targets(context, plan) if each.is_asked_through_client(host)]


def _server(
    context: ServiceContext, plan: LinksPlan, host: str, behind: Sequence[Target]
) -> Iterator[Unit]:
    backends = [
        Backend(
            each.name,
            (each.name,),
            each.address,
            clients=tuple(LinkEnd(client, "client").common_name for client in each.clients),
            is_container=each.is_container,
            is_tried_elsewhere=not each.is_engine,
        )
        for each in behind
    ]
    if context.plan.host(host).system == "macos":
        yield _on_mac(context, plan, host, backends, behind)
        return
    published = Port(
        host_ip=context.plan.host(host).address,
        host_port=plan.spec.port,
        container_port=TLS_PORT,
    )
    end = LinkEnd(host, "server")
    yield from _in_containers(context, plan, (end, TLS_PORT), backends, behind, published)


def _on_mac(
    context: ServiceContext,
    plan: LinksPlan,
    host: str,
    backends: Sequence[Backend],
    behind: Sequence[Target],
) -> Unit:
    """A server as a daemon of launchd."""
    end, place = LinkEnd(host, "server"), link_places.on_mac(context, plan, host)
    files = _files(context, end, place, backends)
    return Unit(
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=link_places.mac_files(context, host, SERVER, files),
        **_common(context, (end, plan.spec.port), behind),
        **link_places.daemon(context, plan, host, _name(context, end), SERVER),
    )


def _client(
    context: ServiceContext, plan: LinksPlan, end: LinkEnd, asked: list[Target]
) -> Iterator[Unit]:
    backends = []
    for host in plan.ends:
        names = tuple(each.name for each in asked if each.host == host)
        if names:
            address = host_and_port(context.plan.host(host).address, plan.spec.port)
            shows = LinkEnd(host, "server").name
            backends.append(Backend(f"host-{plain_name(host)}", names, address, shows))
    yield from _in_containers(context, plan, (end, LINK_PORT), backends, asked)


def _in_containers(
    context: ServiceContext,
    plan: LinksPlan,
    listens: tuple[LinkEnd, int],
    backends: Sequence[Backend],
    behind: Sequence[Target],
    *published: Port,
) -> Iterator[Unit]:
    """One end: what listens for it, and then HAProxy, which is replaced without anyone's notice."""
    end, port = listens
    service = SERVER if end.role == "server" else LINK_CLIENT
    of, common = link_listener(context, end), _common(context, listens, behind)
    yield listener.unit(context, (port,), *of, ports=published, **common)
    files = _files(context, end, link_places.in_container(port), backends)
    config = context.config_tree(end.host, service, files, haproxy_watch.watch(CONFIG))
    mounts, name = listener.shared_mount(context, *of, read_only=True), _name(context, end)
    yield Unit(
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        needs=listener.container_name(context, *of),
        runs=context.container(name, service, IMAGE, **haproxy.fields(config, mounts, plan.spec)),
        **common,
    )


def _name(context: ServiceContext, end: LinkEnd) -> str:
    """Name of an end that is nothing else besides."""
    if end.role == "server":
        return server_name(context, end.host)
    return link_client_name(context, end.host)


def _common(
    context: ServiceContext, listens: tuple[LinkEnd, int], behind: Sequence[Target]
) -> dict[str, Any]:
    """What the units of an end have in common: they serve the same, so each waits for the other."""
    end, port = listens
    replicas = _replicas(context, behind)
    return {
        "host": end.host,
        "tier": Tier.LINK,
        "serves": _name(context, end),
        "route": _route(context, replicas, port),
        "drain_seconds": max((each.engine.drain_seconds for each in replicas), default=0),
    }


def _replicas(context: ServiceContext, behind: Sequence[Target]) -> list[ReplicaPlan]:
    """The replicas of engines behind an end."""
    names = {each.name for each in behind}
    linked = [each for each in context.plan.replicas if each.is_linked]
    return [each for each in linked if engines.container_name(context, each) in names]


def _route(context: ServiceContext, replicas: Sequence[ReplicaPlan], port: int) -> Route | None:
    """Requests to all replicas behind it are kept away while it is replaced, if they can be."""
    reached = [engines.upstream(context, each) for each in replicas]
    found = [from_routers(context, each.model, each.name, port, *each.adapters) for each in reached]
    return together(found)


def _files(
    context: ServiceContext, end: LinkEnd, place: Place, backends: Sequence[Backend]
) -> dict[str, ConfigFile]:
    """Its configuration, its certificate and key, and whom it trusts."""
    content = _config(context, end.role, place, backends)
    return {CONFIG_FILE: ConfigFile(content=content), **link_files(end)}


def _config(context: ServiceContext, role: Role, place: Place, backends: Sequence[Backend]) -> str:
    is_server = role == "server"
    return render(
        "haproxy/link.cfg.j2",
        place=place,
        longest_answer_seconds=LONGEST_ANSWER_SECONDS,
        silent_seconds=context.plan.request_timeout_seconds + SPARE_SECONDS,
        retries=SERVER_RETRIES if is_server else CLIENT_RETRIES,
        is_server=is_server,
        certificate=CERTIFICATE,
        authority=AUTHORITY,
        header=HEADER,
        names=[name for backend in backends for name in backend.names],
        backends=backends,
        errors=_errors(is_server=is_server),
    )


def _errors(*, is_server: bool) -> dict[str, str]:
    who = "The service" if is_server else "The host of the service"
    unavailable = ("server_error", "service_unavailable")
    return {
        "gone": quoted_error(f"{who} does not answer its link.", *unavailable),
        "unknown": quoted_error("No link leads to this service.", *unavailable),
        "forbidden": quoted_error("No link leads from this host to this service.", *unavailable),
    }
