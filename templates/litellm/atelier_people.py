"""What somebody asks in the web UI is asked with their own key: its limits and figures are theirs.

Open WebUI says who asks, by e-mail address; it is believed only if it asks with the master key.
LiteLLM knows a hash of each person's key, and that is enough: a stand-in for the key, which begins
with what this process alone knows, is taken for a key with that hash. Everything else is LiteLLM's.

LiteLLM's own ``user_header_mappings`` would not do: it changes whom a request is counted for after
the limits of the key that was sent were looked at, and believes whoever sends the header.
https://docs.litellm.ai/docs/proxy/customers, litellm/proxy/litellm_pre_call_utils.py
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from litellm.proxy import _types, proxy_server
from litellm.proxy.auth import user_api_key_auth

Message = MutableMapping[str, Any]
App = Callable[[Message, Any, Callable[[Message], Awaitable[None]]], Awaitable[None]]

DATABASE_SECONDS = 5
"""Within which it says who somebody is; after that, what it said last is believed."""
MARK = "atelier"
"""Name of what Atelier notes in LiteLLM's metadata of people."""
HASHING = (_types, user_api_key_auth)
"""Modules of LiteLLM 1.106 that hash the key of a request, each with a name of its own for that."""

log = logging.getLogger("LiteLLM Proxy")


class RefusedError(Exception):
    """Why somebody is not answered."""


@dataclass(frozen=True)
class WebUI:
    """Who is believed to say who asks, and who may ask."""

    key: str = field(repr=False)
    """What the web UI asks with."""
    header: str
    """In which it says who asks."""
    administrator: str
    """Whom it always answers."""
    people_only: bool
    """Whether those without a key are refused."""

    def person(self, scope: Message) -> str | None:
        """E-mail address of who asks in the web UI; lists of models are the same for all."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        headers = {name.lower(): value for name, value in scope["headers"]}
        sent, own = headers.get(b"authorization", b""), f"Bearer {self.key}".encode()
        if not secrets.compare_digest(sent, own):
            return None
        address = headers.get(self.header.lower().encode(), b"").decode("utf-8", "replace")
        return address.strip().lower() or None

    def refuse_strangers(self, address: str) -> None:
        """Somebody has no key.

        Raises:
            RefusedError: if that is not enough.
        """
        if self.people_only and address != self.administrator.lower():
            raise RefusedError(
                f"{address} has no key for this deployment, and only people who have one are"
                " answered: ask your operator for one under this address"
            )


class KeyHashes:
    """Hashes of people's keys, by e-mail address, as LiteLLM's database has them."""

    def __init__(self) -> None:
        self._last: dict[str, str | None] = {}

    async def find(self, address: str) -> str | None:
        """The hash of a person's key; ``None`` for who is no one that Atelier knows.

        Raises:
            RefusedError: if they are known and have no key, or the database does not answer.
        """
        try:
            found = await asyncio.wait_for(_look_up(address), DATABASE_SECONDS)
        except RefusedError:
            raise
        except Exception as error:  # whatever Prisma raises
            if address not in self._last:
                log.warning("who asks in the web UI is not known: %s", type(error).__name__)
                raise RefusedError(
                    "who you are cannot be looked up now: try again in a minute"
                ) from None
            return self._last[address]
        self._last[address] = found
        return found


async def _look_up(address: str) -> str | None:
    database = proxy_server.prisma_client.db
    is_theirs = {"user_email": {"equals": address, "mode": "insensitive"}}
    people = [
        person.user_id
        for person in await database.litellm_usertable.find_many(where=is_theirs)
        # Prisma asks with ILIKE, for which _ is any character
        if person.user_email.lower() == address and MARK in (person.metadata or {})
    ]
    if not people:
        return None
    keys = await database.litellm_verificationtoken.find_many(where={"key_alias": {"in": people}})
    for key in keys:
        if key.user_id == key.key_alias:
            return str(key.token)
    raise RefusedError(f"the key of {people[0]} has ended: ask your operator for another")


@dataclass(frozen=True)
class StandIns:
    """Keys that are taken for those with a given hash, by this process alone."""

    begins: str = field(default_factory=lambda: f"sk-{secrets.token_hex(32)}-", repr=False)

    def of(self, key_hash: str) -> str:
        """What stands in for a key."""
        return self.begins + key_hash

    def install(self, modules: Iterable[ModuleType] = HASHING) -> None:
        """Let LiteLLM take them."""
        for module in modules:
            module.hash_token = self._known_to(module.hash_token)  # type: ignore[attr-defined]

    def _known_to(self, hash_token: Callable[[str], str]) -> Callable[[str], str]:
        def hashed(token: str) -> str:
            is_one = token.startswith(self.begins)
            return token[len(self.begins) :] if is_one else hash_token(token)

        return hashed


def as_people(app: App, web_ui: WebUI, hashes: KeyHashes, stand_ins: StandIns) -> App:
    """Who asks in the web UI asks with their own key."""

    async def asked(scope: Message, receive: Any, send: Any) -> None:
        try:
            address = web_ui.person(scope)
            key_hash = await hashes.find(address) if address else None
            if key_hash:
                scope = {**scope, "headers": _with_key(scope, stand_ins.of(key_hash))}
            elif address:
                web_ui.refuse_strangers(address)
        except RefusedError as error:
            await _refuse(send, str(error))
        else:
            await app(scope, receive, send)

    return asked


def _with_key(scope: Message, key: str) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
    return [*others, (b"authorization", f"Bearer {key}".encode())]


async def _refuse(send: Any, why: str) -> None:
    """As LiteLLM refuses a key; the web UI shows the message."""
    error = {"message": why, "type": "auth_error", "param": None, "code": "403"}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
