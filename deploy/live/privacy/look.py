"""A search that goes on: what is asked with, where, and since when."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.artefacts import Artefacts
from deploy.live.connection import Connection
from deploy.live.http import Base
from deploy.live.privacy.databases import Server, open_server
from deploy.live.privacy.doors import Asked
from deploy.live.privacy.needles import Mark, Needles
from deploy.services import Unit, postgres
from deploy.spec import SecretName


@dataclass(frozen=True)
class WebUI:
    """The web UI, to somebody who is signed in."""

    base: Base
    token: str = field(repr=False)


@dataclass
class Look:
    """A search that goes on."""

    artefacts: Artefacts
    hosts: dict[str, Connection] = field(repr=False)
    needles: Needles
    since: dict[str, int] = field(default_factory=dict)
    """When it began, by each host's clock."""
    server: Server | None = None
    web_ui: WebUI | None = None
    asked: list[Asked] = field(default_factory=list)

    def units(self) -> tuple[Unit, ...]:
        """Everything that runs."""
        return self.artefacts.stack.units

    def host_of(self, unit: Unit) -> Connection:
        """The connection to a unit's host."""
        return self.hosts[unit.host]


def begin(artefacts: Artefacts, hosts: dict[str, Connection]) -> Look:
    """Begin to look, before anything is asked.

    Raises:
        ConnectionFailedError, ServiceError: if a host, or PostgreSQL, does not answer.
    """
    look = Look(artefacts, hosts, Needles(Mark.new(), _keys(artefacts)))
    look.since = {name: now(connection) for name, connection in hosts.items()}
    look.server = _server(look)
    return look


def _keys(artefacts: Artefacts) -> dict[str, str]:
    names = (
        SecretName.ROUTER_MASTER_KEY,
        SecretName.ENGINE_API_KEY,
        SecretName.WEB_UI_ADMIN_PASSWORD,
    )
    known = artefacts.secrets.names
    return {str(name): artefacts.secrets.value(name) for name in names if name in known}


def now(connection: Connection) -> int:
    """Seconds since the epoch, by a host's clock."""
    _, output = connection.run("date +%s")
    return int(output.split()[-1])


def _server(look: Look) -> Server | None:
    plan = look.artefacts.plan.postgres
    if plan is None or plan.host is None:
        return None
    container = look.artefacts.context.container_name(postgres.IMAGE)
    return open_server(look.hosts[plan.host], container, plan.host)
