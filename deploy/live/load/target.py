"""Where people ask: the entry, or the router; as directly as this machine gets there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from deploy.artefacts import Artefacts
from deploy.endpoints import url_of
from deploy.errors import Problem, ServiceError
from deploy.live.connection import connect
from deploy.live.entry import address_of, trusted
from deploy.live.http import Base, Secure, post, trusting
from deploy.live.load.workload import CHARACTERS_PER_TOKEN, sample_code
from deploy.live.verify import loopback
from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import EntryPlan, RouterPlan
from deploy.spec import HostSpec

REACH_SECONDS = 5
CALIBRATION_CHARACTERS = 400


@dataclass(frozen=True)
class Limits:
    """What the entry lets one address do."""

    requests_per_minute: int
    connections: int


@dataclass(frozen=True)
class Target:
    """Whom the load asks."""

    base: Base
    key: str = field(repr=False)
    shown: str
    """The address that people type."""
    through_ssh: bool
    """Whether the way there leads through SSH, which takes time itself."""
    limits: Limits | None
    """``None`` where there is no entry."""

    @property
    def url(self) -> str:
        """Where it is reached from here."""
        return self.base if isinstance(self.base, str) else self.base.url

    @property
    def server_name(self) -> str:
        """What its certificate must be for; empty without TLS."""
        return "" if isinstance(self.base, str) else self.base.name

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """What is believed."""
        return False if isinstance(self.base, str) else trusting(self.base.trusted)

    @property
    def headers(self) -> Mapping[str, str]:
        """Of every request."""
        bearer = {"Authorization": f"Bearer {self.key}"}
        if isinstance(self.base, str):
            return bearer
        port = int(self.base.url.rpartition(":")[2])
        return bearer | {"Host": host_and_port(self.base.name, port)}


@contextmanager
def open_target(artefacts: Artefacts, router: RouterPlan, key: str) -> Iterator[Target]:
    """The entry, where there is one, else a router.

    Args:
        artefacts: the deployment.
        router: which one.
        key: with which it is asked.

    Raises:
        ConnectionFailedError: if its host does not answer.
    """
    entry = artefacts.plan.entry
    host = artefacts.host(entry.host if entry else router.host)
    own, direct = _own_address(artefacts, router), _direct(artefacts, router, host)
    with _way(host, own, direct) as (way, through_ssh):
        if entry is None:
            yield Target(
                f"http://{host_and_port(*way)}", key, url_of(artefacts, router), through_ssh, None
            )
            return
        base = Secure(f"https://{host_and_port(*way)}", entry.names[0], trusted(artefacts, entry))
        limits = Limits(entry.spec.requests_per_minute, entry.spec.connections)
        yield Target(base, key, entry.urls[0], through_ssh, limits)


def _own_address(artefacts: Artefacts, router: RouterPlan) -> tuple[str, int]:
    """Where its host reaches it itself."""
    entry = artefacts.plan.entry
    if entry:
        return address_of(entry), entry.spec.https_port
    return loopback(str(router.spec.listen)), router.spec.port


def _direct(artefacts: Artefacts, router: RouterPlan, host: HostSpec) -> list[tuple[str, int]]:
    """Where others may reach it, the address that people type first."""
    address, port = _own_address(artefacts, router)
    if host.is_local:
        return [(address, port)]
    entry: EntryPlan | None = artefacts.plan.entry
    if entry:
        return [(entry.names[0], port), (host.address or host.name, port)]
    listen = router.spec.listen
    if listen.is_loopback:
        return []
    return [(host.address or host.name if listen.is_unspecified else str(listen), port)]


@contextmanager
def _way(
    host: HostSpec, own: tuple[str, int], direct: list[tuple[str, int]]
) -> Iterator[tuple[tuple[str, int], bool]]:
    """Address and port from here, and whether they lead through SSH."""
    for way in direct:
        with suppress(OSError), socket.create_connection(way, REACH_SECONDS):
            break
    else:
        if host.is_local:
            found = f"nothing listens at {host_and_port(*own)}"
            fix = "deploy it, or see what `atelier status` says"
            raise ServiceError(Problem("load", found, fix=fix))
        with connect(host, needs_docker=False) as connection:
            yield connection.way(*own), True
        return
    yield way, False


def characters_per_token(target: Target, model: str, seed: int, *, chats: bool) -> float:
    """How many characters of code make a token of a model: what it counts itself.

    Raises:
        ServiceError: if it does not answer.
        httpx.HTTPError: if it cannot be reached.
    """
    text = sample_code(seed, CALIBRATION_CHARACTERS)
    path: str = "/v1/completions"
    asked: dict[str, Any] = {"prompt": text}
    if chats:
        path = "/v1/chat/completions"
        asked = {"messages": [{"role": "user", "content": text}]}
    answer = post(target.base, path, target.key, {"model": model, "max_tokens": 1} | asked)
    tokens = int((answer.get("usage") or {}).get("prompt_tokens") or 0)
    return max(len(text) / tokens, 0.5) if tokens else CHARACTERS_PER_TOKEN
