"""Who asks in the web UI asks with their own key, and no one else is believed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import pytest

MASTER, HEADER, ADMIN = "sk-master", "X-OpenWebUI-User-Email", "admin@lab.example"
HASH = "a" * 64
ADA = SimpleNamespace(user_id="ada", user_email="Ada@lab.example", metadata={"atelier": {}})
BY_HAND = SimpleNamespace(user_id="eve", user_email="eve@lab.example", metadata=None)
GONE = SimpleNamespace(user_id="gus", user_email="gus@lab.example", metadata={"atelier": {}})
KEYS = [
    SimpleNamespace(key_alias="ada", user_id="mallory", token="b" * 64),
    SimpleNamespace(key_alias="ada", user_id="ada", token=HASH),
]


class Database:
    """As Prisma's client, for the two questions that are asked."""

    def __init__(self) -> None:
        self.is_away = False
        self.db = self
        self.litellm_usertable = SimpleNamespace(find_many=self._users)
        self.litellm_verificationtoken = SimpleNamespace(find_many=self._keys)

    async def _users(self, where: Any) -> list[Any]:
        if self.is_away:
            raise OSError("no database")
        assert where["user_email"]["mode"] == "insensitive"
        # as ILIKE, which is what Prisma makes of it
        like = where["user_email"]["equals"].lower().replace("_", "?").replace("%", "*")
        rows = (ADA, BY_HAND, GONE)
        return [row for row in rows if fnmatchcase(row.user_email.lower(), like)]

    async def _keys(self, where: Any) -> list[Any]:
        return [row for row in KEYS if row.key_alias in where["key_alias"]["in"]]


class Router:
    """LiteLLM behind the hook: what it was asked with, and what was answered."""

    def __init__(self, module: Any, *, people_only: bool = False) -> None:
        self.asked: list[dict[bytes, bytes]] = []
        self.sent: list[Any] = []
        self.stand_ins = module.StandIns()
        web_ui = module.WebUI(
            key=MASTER, header=HEADER, administrator=ADMIN, people_only=people_only
        )
        self.hook = module.as_people(self._answer, web_ui, module.KeyHashes(), self.stand_ins)

    async def _answer(self, scope: Any, _receive: Any, _send: Any) -> None:
        self.asked.append(dict(scope["headers"]))
        assert len(scope["headers"]) == len(self.asked[-1])

    def ask(self, address: str = "", key: str = MASTER, **scope: Any) -> str:
        """The key that LiteLLM sees, or why it sees none."""
        headers = [(b"authorization", f"Bearer {key}".encode())]
        if address:
            headers.append((HEADER.lower().encode(), address.encode()))
        whole = {"type": "http", "method": "POST", "headers": headers} | scope
        self.asked, self.sent = [], []
        asyncio.run(self.hook(whole, None, self._send))
        if self.asked:
            return self.asked[0][b"authorization"].decode().removeprefix("Bearer ")
        start, body = self.sent
        assert start["status"] == 403
        return str(json.loads(body["body"])["error"]["message"])

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.fixture
def module(load: Callable[[str], Any]) -> Any:
    loaded = load("atelier_people")
    sys.modules["litellm.proxy.proxy_server"].prisma_client = Database()  # type: ignore[attr-defined]
    return loaded


@pytest.fixture
def database(module: Any) -> Database:
    found: Database = module.proxy_server.prisma_client
    return found


def test_a_person_in_the_web_ui_asks_with_their_own_key(module: Any) -> None:
    router = Router(module)
    router.stand_ins.install()
    seen = router.ask("ada@lab.example")
    assert seen.startswith("sk-")
    for each in module.HASHING:
        assert each.hash_token(seen) == HASH
        assert each.hash_token("sk-of-a-client") == "hash of sk-of-a-client"
    assert MASTER not in seen


def test_another_process_does_not_take_a_stand_in(module: Any) -> None:
    seen = Router(module).ask("ada@lab.example")
    Router(module).stand_ins.install()
    assert module.HASHING[0].hash_token(seen) == f"hash of {seen}"


@pytest.mark.parametrize("key", ["sk-of-bob", "", f"{MASTER}x"])
def test_nobody_else_is_believed(module: Any, key: str) -> None:
    assert Router(module).ask("ada@lab.example", key) == key


@pytest.mark.parametrize("address", ["a_a@lab.example", "%@lab.example"])
def test_an_address_is_no_pattern(module: Any, address: str) -> None:
    assert Router(module).ask(address) == MASTER


@pytest.mark.parametrize("scope", [{"method": "GET"}, {"type": "lifespan"}])
def test_what_no_person_asks_goes_on_as_it_came(module: Any, scope: dict[str, str]) -> None:
    assert Router(module).ask("ada@lab.example", **scope) == MASTER
    assert Router(module).ask() == MASTER


def test_somebody_without_a_key_is_answered_or_refused(module: Any) -> None:
    for address in ("zoe@lab.example", "eve@lab.example"):
        assert Router(module).ask(address) == MASTER
        refused = Router(module, people_only=True).ask(address)
        assert f"{address} has no key" in refused
        assert "ask your operator" in refused
    assert Router(module, people_only=True).ask("Admin@lab.example") == MASTER


def test_a_key_that_has_ended_is_not_replaced_by_the_web_uis(module: Any) -> None:
    assert "the key of gus has ended" in Router(module).ask("gus@lab.example")


def test_who_is_known_goes_on_while_the_database_is_away(module: Any, database: Database) -> None:
    router = Router(module)
    before = [router.ask("ada@lab.example"), router.ask("zoe@lab.example")]
    database.is_away = True
    assert [router.ask("ada@lab.example"), router.ask("zoe@lab.example")] == before
    assert "try again" in router.ask("gus@lab.example")


def test_the_stand_in_is_shown_nowhere(module: Any) -> None:
    router = Router(module)
    assert router.stand_ins.begins not in repr(router.stand_ins)
    assert len({module.StandIns().begins for _ in range(10)}) == 10
