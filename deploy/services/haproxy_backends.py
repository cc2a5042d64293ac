"""Where the entry leads: the replicas of each router behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import EntryPlan, RouterPlan
from deploy.services import routers
from deploy.services.context import ServiceContext
from deploy.services.routes import entry_backend, router_names
from deploy.tls.pair import LinkEnd


@dataclass(frozen=True)
class Server:
    """One of those that answer, as HAProxy reaches it."""

    name: str
    address: str
    """Host and port."""
    shows: str = ""
    """The name in the certificate that is asked for there, where it is behind a link; otherwise the
    host is the name of a container, whose address changes."""


@dataclass(frozen=True)
class Backend:
    """The replicas of one router."""

    name: str
    health: str
    """Path that a replica answers with 200 while it can be asked."""
    servers: list[Server]


def completing_backend(context: ServiceContext, plan: EntryPlan) -> Backend | None:
    """LiteLLM beside a main router: it completes, and its administration is its own."""
    router = context.plan.completing_router
    return None if router == context.plan.router else router_backend(context, plan, router)


def router_backend(context: ServiceContext, plan: EntryPlan, router: RouterPlan) -> Backend:
    """Every replica of a router, and how the entry finds out whether one can be asked."""
    names, port = router_names(context, router), routers.port(router)
    return Backend(
        entry_backend(context, router),
        routers.health(router),
        servers(context, plan, router.host, names, port),
    )


def servers(
    context: ServiceContext, plan: EntryPlan, host: str, names: Sequence[str], port: int
) -> list[Server]:
    """Containers next to the entry by their names, those of another host behind its link.

    Args:
        context: the deployment.
        plan: the entry.
        host: name of the host that they run on.
        names: of the containers.
        port: the port that they listen on in their containers.
    """
    links = context.plan.links
    if host == plan.host or links is None:
        return [Server(name, f"{name}:{port}") for name in names]
    address = host_and_port(context.plan.host(host).address, links.spec.port)
    return [Server(name, address, shows=LinkEnd(host, "server").name) for name in names]
