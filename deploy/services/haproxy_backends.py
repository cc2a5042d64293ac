"""Where the entry leads: the replicas of each router behind it."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import EntryPlan, RouterPlan
from deploy.services import routers
from deploy.services.context import ServiceContext
from deploy.services.routes import entry_backend, published_ports, router_addresses


@dataclass(frozen=True)
class Server:
    """One of those that answer, as HAProxy reaches it."""

    name: str
    address: str
    """Host and port."""
    is_container: bool
    """Whether its host is the name of a container, whose address changes."""


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
    return Backend(
        entry_backend(context, router), routers.health(router), _servers(context, plan, router)
    )


def _servers(context: ServiceContext, plan: EntryPlan, router: RouterPlan) -> list[Server]:
    if router.host == plan.host:
        return [
            Server(address.partition(":")[0], address, is_container=True)
            for address in router_addresses(context, router, routers.port(router))
        ]
    address = context.plan.host(router.host).address
    return [
        Server(name, host_and_port(address, port), is_container=False)
        for name, port in published_ports(context, router).items()
    ]
