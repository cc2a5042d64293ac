"""Links: requests of routers to engines on other hosts, over mutual TLS with HAProxy at both ends.

Settings: https://docs.haproxy.org/3.0/configuration.html

Routers ask the client, a container next to them, for ``/<replica>/...``. It goes to the server on
the replica's host with its certificate, asks for that host's, and the server hands the request to
the engine. Engines have no port on their host. Certificates and replicas come and go while requests
go on: both ends read their files again when they have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.addresses import host_and_port
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import LinksPlan
from deploy.render import render
from deploy.services import engines, haproxy_watch
from deploy.services.container import HealthCheck, Mount, Port
from deploy.services.context import ServiceContext
from deploy.services.haproxy import (
    CAPABILITIES,
    HEALTH_PORT,
    IMAGE,
    RUNTIME_PORT,
    SPARE_SECONDS,
    USER,
    quoted_error,
)
from deploy.services.haproxy_watch import CONFIG_FILE, LONGEST_ANSWER_SECONDS
from deploy.services.health import http_check
from deploy.services.host_files import ConfigFile
from deploy.services.routes import LINK_PORT, from_routers, link_client_name
from deploy.services.unit import Route, Tier, Unit
from deploy.spec import SecretText
from deploy.tls.pair import LINKS_AUTHORITY, LinkEnd, Role, plain_name

CLIENT, SERVER = "link-client", "link-server"
TLS_PORT = 8443
"""Where the server listens in its container."""
CONFIG = PurePosixPath("/etc/atelier")
CERTIFICATE, KEY, AUTHORITY = "link.pem", "link.pem.key", "authority.pem"
"""HAProxy finds the key by this name."""
STOP_SECONDS = 20
"""How long answers may go on when it stops; it has had no new requests for a while then."""
SERVER_RETRIES, CLIENT_RETRIES = 3, 1
"""A second apart. An engine that was just made anew has another address for a moment; a host that
is gone is not waited for: there may be another replica."""


@dataclass(frozen=True)
class Backend:
    """Where requests to some replicas go."""

    name: str
    names: tuple[str, ...]
    """The replicas."""
    address: str
    """Host and port."""
    shows: str = ""
    """The name in the certificate that is asked for there."""


def end_name(context: ServiceContext, end: LinkEnd) -> str:
    """Name of an end's container."""
    if end.role == "client":
        return link_client_name(context)
    return context.container_name(SERVER, plain_name(end.host))


def units(context: ServiceContext) -> Iterator[Unit]:
    """A server on each host with engines that routers on another one ask, and their client."""
    plan = context.plan.links
    if plan is None:
        return
    for host in plan.ends:
        yield _server(context, plan, host)
    yield _client(context, plan)


def _server(context: ServiceContext, plan: LinksPlan, host: str) -> Unit:
    replicas = _replicas(context, host)
    ports = {engines.container_name(context, r): engines.container_port(r) for r in replicas}
    backends = [Backend(name, (name,), f"{name}:{port}") for name, port in ports.items()]
    published = Port(
        host_ip=context.plan.host(host).address,
        host_port=plan.spec.port,
        container_port=TLS_PORT,
    )
    return _unit(
        context,
        plan,
        LinkEnd(host, "server"),
        TLS_PORT,
        backends,
        replicas,
        ports=(published,),
    )


def _client(context: ServiceContext, plan: LinksPlan) -> Unit:
    backends = []
    for host in plan.ends:
        found = (engines.container_name(context, each) for each in _replicas(context, host))
        names = tuple(dict.fromkeys(found))
        address = host_and_port(context.plan.host(host).address, plan.spec.port)
        shows = LinkEnd(host, "server").name
        backends.append(Backend(f"host-{plain_name(host)}", names, address, shows))
    linked = [each for host in plan.ends for each in _replicas(context, host)]
    end = LinkEnd(plan.host, "client")
    return _unit(context, plan, end, LINK_PORT, backends, linked)


def _replicas(context: ServiceContext, host: str) -> list[ReplicaPlan]:
    """The replicas of a host that are asked through its link."""
    return [each for each in context.plan.replicas if each.is_linked and each.host == host]


def _unit(  # noqa: PLR0913, PLR0917
    context: ServiceContext,
    plan: LinksPlan,
    end: LinkEnd,
    port: int,
    backends: Sequence[Backend],
    replicas: Sequence[ReplicaPlan],
    **own: Any,
) -> Unit:
    """One end: it is replaced only where its image or its port is another one."""
    name = end_name(context, end)
    service = SERVER if end.role == "server" else CLIENT
    config = context.config_tree(
        end.host, service, _files(context, end, port, backends), haproxy_watch.watch(CONFIG)
    )
    return Unit(
        host=end.host,
        tier=Tier.LINK,
        serves=name,
        image_name=IMAGE,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        route=_route(context, replicas, port),
        drain_seconds=max(each.engine.drain_seconds for each in replicas),
        config=config,
        runs=context.container(
            name,
            service,
            IMAGE,
            entrypoint="sh",
            command=haproxy_watch.command(CONFIG, STOP_SECONDS),
            mounts={CONFIG: Mount(kind="bind", source=str(config.root), read_only=True)},
            memory_bytes=plan.spec.memory_limit,
            cap_add=CAPABILITIES,
            stop_timeout_seconds=STOP_SECONDS + 5,
            healthcheck=HealthCheck(
                command=http_check(HEALTH_PORT, "/health"),
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
            **own,
        ),
    )


def _route(context: ServiceContext, replicas: Sequence[ReplicaPlan], port: int) -> Route | None:
    """Requests to all replicas behind it are kept away while it is replaced, if they can be."""
    reached = [engines.upstream(context, each) for each in replicas]
    found = [from_routers(context, each.name, port, *each.adapters) for each in reached]
    routes = [route for route in found if route]
    if not routes:
        return None
    names = tuple(name for route in routes for name in route.names)
    return routes[0].model_copy(update={"names": names})


def _files(
    context: ServiceContext, end: LinkEnd, port: int, backends: Sequence[Backend]
) -> dict[str, ConfigFile]:
    """Its configuration, its certificate and key, and whom it trusts."""
    return {
        CONFIG_FILE: ConfigFile(content=_config(context, end.role, port, backends)),
        CERTIFICATE: ConfigFile(content=SecretText.of(end.certificate_name)),
        KEY: ConfigFile(content=SecretText.of(end.key_name), mode=0o600),
        AUTHORITY: ConfigFile(content=SecretText.of(LINKS_AUTHORITY)),
    }


def _config(context: ServiceContext, role: Role, port: int, backends: Sequence[Backend]) -> str:
    is_server = role == "server"
    return render(
        "haproxy/link.cfg.j2",
        uid=USER,
        runtime_port=RUNTIME_PORT,
        health_port=HEALTH_PORT,
        longest_answer_seconds=LONGEST_ANSWER_SECONDS,
        silent_seconds=context.plan.router.spec.request_timeout_seconds + SPARE_SECONDS,
        retries=SERVER_RETRIES if is_server else CLIENT_RETRIES,
        is_server=is_server,
        port=port,
        certificate=CERTIFICATE,
        authority=AUTHORITY,
        names=[name for backend in backends for name in backend.names],
        backends=backends,
        errors=_errors(is_server=is_server),
    )


def _errors(*, is_server: bool) -> dict[str, str]:
    who = "The engine" if is_server else "The host of the engine"
    return {
        "gone": quoted_error(
            f"{who} does not answer its link.", "server_error", "service_unavailable"
        ),
        "unknown": quoted_error(
            "No link leads to such a replica.", "server_error", "service_unavailable"
        ),
    }
