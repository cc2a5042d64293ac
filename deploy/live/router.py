"""The router's own API, reached from this machine: who there is, and who used how much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import httpx

from deploy.artefacts import Artefacts
from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection, connect, container_address
from deploy.live.http import get, post
from deploy.live.sender import Sender
from deploy.people.records import Live, live
from deploy.people.requests import ENDS, Request
from deploy.people.usage import By, Usage, add_up, path_of
from deploy.plan.service_plans import RouterPlan
from deploy.services.litellm import PORT
from deploy.services.routes import router_names
from deploy.spec import SecretName
from deploy.spec.router import RouterKind

PAGE = 100
DAYS_A_PAGE = 1000


@dataclass(frozen=True)
class Router:
    """A router that runs."""

    url: str
    key: str = field(repr=False)

    def people(self) -> Live:
        """Teams, people and keys.

        Raises:
            ServiceError: if the router does not say.
        """
        users = self._pages("/user/list", "users", {"page_size": PAGE})
        keys = self._pages("/key/list", "keys", {"size": PAGE, "return_full_object": True})
        return live({"teams": self._get("/team/list", {}), "users": users, "keys": keys})

    def usage(self, by: By, first: date, last: date) -> list[Usage]:
        """Who used how much, from one day to another, both included.

        Raises:
            ServiceError: if the router does not say.
        """
        days: list[Any] = []
        asked = {"start_date": first.isoformat(), "end_date": last.isoformat()}
        page, pages = 1, 1
        while page <= pages:
            size = {"page": page, "page_size": DAYS_A_PAGE}
            answer = self._get(path_of(by), {**asked, **size})
            days += answer["results"]
            page, pages = page + 1, int(answer["metadata"]["total_pages"])
        return add_up(days, by)

    def send(self, requests: Iterable[Request]) -> None:
        """Send requests, one after the other.

        Raises:
            ServiceError: if one is refused; those after it are not sent.
        """
        for request in requests:
            body = dict(request.body)
            if ends := body.pop(ENDS, None):
                left = datetime.fromisoformat(str(ends)) - datetime.now(UTC)
                body["duration"] = f"{max(int(left.total_seconds()), 1)}s"
            with self._answers(request.path):
                post(self.url, request.path, self.key, body)

    def _pages(self, path: str, rows: str, asked: dict[str, Any]) -> list[Any]:
        found: list[Any] = []
        page, pages = 1, 1
        while page <= pages:
            answer = self._get(path, {**asked, "page": page})
            found += answer[rows]
            page, pages = page + 1, int(answer["total_pages"])
        return found

    def _get(self, path: str, asked: dict[str, Any]) -> Any:
        with self._answers(path):
            return get(self.url, path, self.key, asked)

    @contextmanager
    def _answers(self, path: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            found = f"the router does not answer ({type(error).__name__}: {error})"
            fix = "see what `atelier status` says of it"
            raise ServiceError(Problem(path, found, fix=fix)) from None


@contextmanager
def open_routers(artefacts: Artefacts) -> Iterator[dict[RouterKind, Router | Sender]]:
    """Of each router the first replica that runs.

    Raises:
        ConnectionFailedError: if their host does not answer.
        ServiceError: if of one none runs, or the deployment has no database for people.
        SecretError: if the deployment's secrets are not known here.
    """
    if artefacts.plan.people is None:
        raise ServiceError(
            Problem(
                "people",
                "the router has no database, and so no key but the master key",
                fix="declare postgres=Postgres(), and deploy",
            )
        )
    artefacts.secrets.require_kept()
    host = artefacts.host(artefacts.plan.router.host)
    with connect(host) as connection:
        yield {
            router.spec.kind: _open(artefacts, router, connection)
            for router in artefacts.plan.routers
        }


def _open(artefacts: Artefacts, router: RouterPlan, connection: Connection) -> Router | Sender:
    name = _running(artefacts, router, connection)
    if router.spec.kind == "aristote":
        return Sender(connection, name)
    # its container's address: the port that people use may be another service's
    address = container_address(connection, name, artefacts.plan.name)
    key = artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY)
    return Router(connection.reach(address, PORT), key)


def _running(artefacts: Artefacts, router: RouterPlan, connection: Connection) -> str:
    """Name of the first replica of a router that runs."""
    running = {each.name for each in connection.client.containers.list()}
    names = router_names(artefacts.context, router)
    for name in names:
        if name in running:
            return name
    raise ServiceError(
        Problem(", ".join(names), "no router runs", fix="deploy, or see what `atelier status` says")
    )
