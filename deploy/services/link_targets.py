"""What is asked through links: engines, routers and web UIs that another host asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.plan.addresses import host_and_port
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import Hop, LinksPlan
from deploy.services import engines, open_webui, routers
from deploy.services.context import ServiceContext
from deploy.services.routes import router_names, web_ui_name


@dataclass(frozen=True)
class Target:
    """A container, or a daemon, that is asked from another host."""

    name: str
    """Its name, by which it is asked."""
    host: str
    """Name of its host."""
    address: str
    """Host and port, as its host reaches it."""
    hops: tuple[Hop, ...]
    """Who asks it."""
    is_container: bool = True
    """Whether it is a container, whose address changes, and which is asked by its name."""

    @property
    def is_engine(self) -> bool:
        """Whether routers ask it, which know what to do when it does not answer."""
        return any(hop.asked == "engine" for hop in self.hops)

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the hosts that ask it."""
        return tuple(dict.fromkeys(hop.client for hop in self.hops))

    def is_asked_through_client(self, host: str) -> bool:
        """Whether a host asks it through a client of its own; an entry does without."""
        return any(hop.client == host and hop.asks != "entry" for hop in self.hops)


def targets(context: ServiceContext, plan: LinksPlan) -> tuple[Target, ...]:
    """Everything that is asked through links."""
    # an Ollama may serve several replicas
    return tuple(dict.fromkeys(_targets(context, plan)))


def _targets(context: ServiceContext, plan: LinksPlan) -> Iterator[Target]:
    for replica in context.plan.replicas:
        if replica.is_linked:
            yield _engine(context, plan, replica)
    for router in context.plan.routers:
        if hops := plan.hops_to(router.host, "router"):
            for name in router_names(context, router):
                yield Target(name, router.host, f"{name}:{routers.port(router)}", hops)
    web_ui = context.plan.web_ui
    if web_ui and (hops := plan.hops_to(web_ui.host, "web_ui")):
        for index in range(web_ui.spec.replicas):
            name = web_ui_name(context, index)
            yield Target(name, web_ui.host, f"{name}:{open_webui.PORT}", hops)


def _engine(context: ServiceContext, plan: LinksPlan, replica: ReplicaPlan) -> Target:
    name = engines.container_name(context, replica)
    hops = plan.hops_to(replica.host, "engine")
    if replica.runs == "native":
        address = host_and_port(*context.listens(replica))
        return Target(name, replica.host, address, hops, is_container=False)
    return Target(name, replica.host, f"{name}:{engines.container_port(replica)}", hops)
