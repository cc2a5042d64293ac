"""What a plan says of the services that are no engines: where each runs, and how it is declared."""

from __future__ import annotations

from typing import Literal

from deploy.plan.addresses import bracketed, host_and_port
from deploy.plan.part import PlanPart
from deploy.spec import EntrySpec, LinksSpec, PostgresSpec, RouterSpec, ValkeySpec, WebUISpec
from deploy.spec.router import RouterKind
from deploy.tls.pair import LinkEnd

TITLES: dict[RouterKind, str] = {"aristote": "Aristote", "litellm": "LiteLLM"}
HTTPS_PORT = 443
"""What an address with https:// means where it names no port."""


class RouterPlan(PlanPart):
    """Where a router runs, and what it answers for."""

    host: str
    """Name of the host."""
    spec: RouterSpec
    """How it is declared."""
    setting: str = "router"
    """Where it stands in the inventory."""
    models: tuple[str, ...]
    """The served models that it answers for, in the order of declaration."""

    @property
    def title(self) -> str:
        """What it is called."""
        return TITLES[self.spec.kind]


class WebUIPlan(PlanPart):
    """Where the web UI runs."""

    host: str
    """Name of the host."""
    spec: WebUISpec
    """How it is declared."""
    title: str = "Atelier"
    """Name shown in the browser."""
    uses_valkey: bool = False
    """Whether what several of it share is in Valkey, and who has logged out."""


DatabaseUser = Literal["router", "web_ui"]


class PostgresPlan(PlanPart):
    """Which databases there are, and where."""

    spec: PostgresSpec
    """How it is declared."""
    host: str | None
    """Where the server runs; ``None`` if every database is on a server of the operator's."""
    own: tuple[DatabaseUser, ...]
    """Whose databases are on it."""
    declared: tuple[DatabaseUser, ...]
    """Whose databases are on servers of the operator's."""


class ValkeyPlan(PlanPart):
    """What routers share."""

    spec: ValkeySpec
    """How it is declared."""
    host: str | None
    """Where the server runs; ``None`` if it is one of the operator's."""


class Hop(PlanPart):
    """Requests that go from a service on one host to one on another."""

    client: str
    """Name of the host that they come from."""
    server: str
    """Name of the host that they go to."""
    asks: Literal["entry", "router", "web_ui"]
    """Who sends them."""
    asked: Literal["engine", "router", "web_ui"]
    """Who answers them."""


class LinksPlan(PlanPart):
    """Between which hosts requests go through links."""

    spec: LinksSpec
    """How they are declared."""
    hops: tuple[Hop, ...]
    """What goes through them."""
    ends: tuple[str, ...]
    """Names of the hosts that they end on, in the order of declaration."""

    def hops_to(self, server: str, asked: str) -> tuple[Hop, ...]:
        """What goes to one kind of service on a host."""
        return tuple(hop for hop in self.hops if (hop.server, hop.asked) == (server, asked))

    @property
    def certified(self) -> tuple[LinkEnd, ...]:
        """Who has a certificate: a host has one for all that it asks, and one to be asked with."""
        clients = dict.fromkeys(hop.client for hop in self.hops)
        return (
            *(LinkEnd(host, "server") for host in self.ends),
            *(LinkEnd(host, "client") for host in clients),
        )


class EntryPlan(PlanPart):
    """Where the entry runs, and what people type to get there."""

    host: str
    """Name of the host."""
    spec: EntrySpec
    """How it is declared."""
    names: tuple[str, ...]
    """DNS names and addresses that it has a certificate for."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Addresses that people type, the one that Atelier shows first."""
        port = self.spec.https_port
        return tuple(
            f"https://{bracketed(name) if port == HTTPS_PORT else host_and_port(name, port)}"
            for name in self.names
        )
