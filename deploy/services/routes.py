"""How requests come to a unit, and where it is written down that one gets none for a while."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.plan.service_plans import RouterPlan
from deploy.services import listener
from deploy.services.container_parts import Port
from deploy.services.context import ServiceContext
from deploy.services.unit import Route
from deploy.spec.endpoint import EndpointSpec
from deploy.spec.router import RouterKind
from deploy.tls.pair import LinkEnd, plain_name

LITELLM, OPEN_WEBUI, HAPROXY = "litellm", "open-webui", "haproxy"
ARISTOTE = "aristote-sender"
ROUTER_NAMES: dict[RouterKind, str] = {"aristote": ARISTOTE, "litellm": LITELLM}
"""What the containers of each router are called."""
LINK_CLIENT = "link-client"
LINK_PORT = 8080
"""Where the client of the links is asked, in its container."""
ENGINE_KEYS = "engine_keys"
"""File of the engines' keys, a line each: the one that they have, or are given, is the first."""
DRAINING = "draining"
"""Directory with a file for each unit that gets no requests: until when, and what it is called."""
ROUTERS = "router"
"""What the entry calls the replicas of the main router together."""
COMPLETIONS = "completions"
"""What it calls those of LiteLLM beside a main router, which it sends completions to."""
WEB_UIS = "web_ui"
"""What it calls the web UIs."""


def from_routers(
    context: ServiceContext, model: str, name: str, port: int, *adapters: str
) -> Route | None:
    """How requests come to a replica of an engine; ``None`` where no LiteLLM sends it any.

    Aristote's consumers ask each replica whether it is there, and nothing keeps requests away from
    one that is.

    Args:
        context: the deployment.
        model: the served model.
        name: what routers call the replica.
        port: the port that it listens on in its container.
        adapters: variants of the model, under which routers know it, too.
    """
    router = context.plan.router_of("litellm")
    if router is None or model not in router.models:
        return None
    return Route(
        host=router.host,
        directory=context.live_directory(router.host, LITELLM) / DRAINING,
        names=(name, *(f"{name}-{adapter}" for adapter in adapters)),
        port=port,
    )


def together(routes: Iterable[Route | None]) -> Route | None:
    """One route for all that requests come to by several names; ``None`` where they do not come."""
    found = [route for route in routes if route]
    if not found:
        return None
    names = tuple(name for route in found for name in route.names)
    return found[0].model_copy(update={"names": names})


def router_name(context: ServiceContext, router: RouterPlan, index: int) -> str:
    """Name of a router's container."""
    return context.container_name(ROUTER_NAMES[router.spec.kind], index=index)


def router_names(context: ServiceContext, router: RouterPlan) -> tuple[str, ...]:
    """Names of the containers of every replica of a router."""
    return tuple(router_name(context, router, index) for index in range(router.spec.replicas))


def router_addresses(context: ServiceContext, router: RouterPlan, port: int) -> tuple[str, ...]:
    """Name and port of every replica of a router, on the deployment's network of its host.

    Args:
        context: the deployment.
        router: which router.
        port: the port that they listen on in their containers.
    """
    return tuple(f"{name}:{port}" for name in router_names(context, router))


def link_client_name(context: ServiceContext, host: str) -> str:
    """Name of the container of a host that hands requests to services on other hosts."""
    return context.container_name(LINK_CLIENT, *_but_for_routers(context, host))


def link_listener(context: ServiceContext, end: LinkEnd) -> tuple[str, ...]:
    """What the listener of an end listens for, as in its name."""
    if end.role == "server":
        return end.role, plain_name(end.host)
    return end.role, *_but_for_routers(context, end.host)


def link_asked_name(context: ServiceContext, host: str) -> str:
    """Name of the container by which a host asks its client, which comes and goes behind it."""
    return listener.container_name(context, *link_listener(context, LinkEnd(host, "client")))


def _but_for_routers(context: ServiceContext, host: str) -> tuple[str, ...]:
    """A host, as clients are called: the routers' as it was when there was no other."""
    return () if host == context.plan.router.host else (plain_name(host),)


def linked_address(context: ServiceContext, host: str, name: str) -> str:
    """Host, port and path by which a host asks a service on another one through a link.

    Args:
        context: the deployment.
        host: name of the host that asks.
        name: name of the container that is asked.
    """
    return f"{link_asked_name(context, host)}:{LINK_PORT}/{name}"


def published(spec: EndpointSpec, index: int, port: int) -> tuple[Port, ...]:
    """How the port of a router or a web UI is published: that of the first one.

    Entries reach all of them by their names, or through a link.

    Args:
        spec: how it is declared.
        index: which replica.
        port: the port that it listens on in its container.
    """
    if index:
        return ()
    return (Port(host_ip=str(spec.listen), host_port=spec.port, container_port=port),)


def entry_backend(context: ServiceContext, router: RouterPlan) -> str:
    """What the entry calls the replicas of a router together."""
    return ROUTERS if router == context.plan.router else COMPLETIONS


def from_entry(context: ServiceContext, router: RouterPlan, index: int, port: int) -> Route | None:
    """How requests come to a router; ``None`` where no entry could send them to another one."""
    entry = context.plan.entry
    if entry is None or router.spec.replicas == 1:
        return None
    own, name = entry_backend(context, router), router_name(context, router, index)
    # the entry that runs still has it where it was before a router came, went or became the first
    others = [each for each in (ROUTERS, COMPLETIONS) if each != own]
    backends = [own, *others] if router.spec.kind == "litellm" else [own]
    return Route(
        host=entry.host,
        directory=context.live_directory(entry.host, HAPROXY) / DRAINING,
        names=tuple(f"{backend}/{name}" for backend in backends),
        port=port,
        entry=context.container_name(HAPROXY),
    )


def web_ui_name(context: ServiceContext, index: int) -> str:
    """Name of a web UI's container, which is also its DNS name on the deployment's network."""
    return context.container_name(OPEN_WEBUI, index=index)


def web_ui_route(context: ServiceContext, index: int, port: int) -> Route | None:
    """How people come to a web UI; ``None`` where no entry could send them to another one."""
    web_ui, entry = context.plan.web_ui, context.plan.entry
    if web_ui is None or entry is None or web_ui.spec.replicas == 1:
        return None
    return Route(
        host=entry.host,
        directory=context.live_directory(entry.host, HAPROXY) / DRAINING,
        names=(f"{WEB_UIS}/{web_ui_name(context, index)}",),
        port=port,
        entry=context.container_name(HAPROXY),
    )
