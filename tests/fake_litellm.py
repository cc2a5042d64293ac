"""LiteLLM's management API over HTTP, as far as people are kept with it: written after 1.106.2.

It refuses what LiteLLM refuses: an alias or an address that is taken, a team that somebody is not a
member of.
As there, other routers do not learn that a key was deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.serving import QuietHandler, running

Row = dict[str, Any]
EMPTY: Row = {
    "models": [],
    "max_budget": None,
    "budget_duration": None,
    "tpm_limit": None,
    "rpm_limit": None,
    "max_parallel_requests": None,
    "blocked": None,
    "metadata": {},
    "spend": 0.0,
}
DASHBOARD = {**EMPTY, "token": "d" * 64, "key_alias": None, "team_id": "litellm-dashboard"}
DEFAULT_USER = {"user_id": "default_user_id", "teams": [], "metadata": {}}


class NotAllowedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


@dataclass
class FakeLiteLLM:
    """What it has, and what it was asked."""

    url: str = ""
    key: str = "sk-master"
    teams: dict[str, Row] = field(default_factory=dict)
    users: dict[str, Row] = field(default_factory=lambda: {"default_user_id": DEFAULT_USER})
    keys: dict[str, Row] = field(default_factory=lambda: {"d" * 64: DASHBOARD})
    asked: list[tuple[str, Row]] = field(default_factory=list)
    taken_elsewhere: set[str] = field(default_factory=set)
    """Keys that were deleted here, and that another router may still take."""
    has_database: bool = True
    page: int = 2
    """Rows of a page, at most: fewer than the real one has, so that there are several."""
    usage: list[list[Row]] = field(default_factory=lambda: [[]])
    """Days of each page."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def answer(self, path: str, asked: Row) -> Any:
        """What it answers; paths are ``/team/new`` and so on."""
        if not self.has_database:
            raise NotAllowedError(400, "DB not connected. See https://docs.litellm.ai")
        if path in {"/user/daily/activity", "/team/daily/activity"}:
            page = self.usage[int(asked["page"]) - 1]
            return {"results": page, "metadata": {"total_pages": len(self.usage)}}
        kind, _, verb = path.removeprefix("/").partition("/")
        if kind not in {"team", "user", "key"}:
            raise NotAllowedError(404, path)
        found: Any = getattr(self, f"_{kind}_{verb}")(asked)
        return found

    def _team_list(self, asked: Row) -> Any:  # noqa: ARG002
        return list(self.teams.values())

    def _team_new(self, asked: Row) -> Any:
        self.teams[asked["team_id"]] = {**EMPTY, **asked}
        return {}

    def _team_update(self, asked: Row) -> Any:
        self.teams[asked["team_id"]].update(asked)
        return {}

    def _team_delete(self, asked: Row) -> Any:
        for team in asked["team_ids"]:
            del self.teams[team]
            self.keys = {k: row for k, row in self.keys.items() if row.get("team_id") != team}
            for user in self.users.values():
                user["teams"] = [each for each in user.get("teams") or [] if each != team]
        return {}

    def _team_member_add(self, asked: Row) -> Any:
        self.users[asked["member"]["user_id"]]["teams"].append(asked["team_id"])
        return {}

    def _team_member_delete(self, asked: Row) -> Any:
        self.users[asked["user_id"]]["teams"].remove(asked["team_id"])
        self.keys = {
            token: row
            for token, row in self.keys.items()
            if (row.get("user_id"), row["team_id"]) != (asked["user_id"], asked["team_id"])
        }
        return {}

    def _user_list(self, asked: Row) -> Any:
        rows, pages = self._paged(list(self.users.values()), asked, "page_size")
        return {"users": rows, "total_pages": pages}

    def _user_new(self, asked: Row) -> Any:
        address = str(asked["user_email"] or "").lower()
        if address and any(
            str(user.get("user_email") or "").lower() == address for user in self.users.values()
        ):
            raise NotAllowedError(409, f"User with email {address} already exists")
        self.users[asked["user_id"]] = {"teams": [], **asked}
        return {}

    def _user_update(self, asked: Row) -> Any:
        self.users[asked["user_id"]].update(asked)
        return {}

    def _user_delete(self, asked: Row) -> Any:
        for user in asked["user_ids"]:
            del self.users[user]
            self.keys = {k: row for k, row in self.keys.items() if row.get("user_id") != user}
        return {}

    def _key_list(self, asked: Row) -> Any:
        assert str(asked["return_full_object"]).lower() == "true"
        rows, pages = self._paged(list(self.keys.values()), asked, "size")
        return {"keys": rows, "total_pages": pages}

    def _key_generate(self, asked: Row) -> Any:
        self._require_free(asked["key_alias"], "")
        self._require_member(asked)
        token = hashlib.sha256(asked["key"].encode()).hexdigest()
        row = {**EMPTY, "expires": None, **asked, "token": token}
        row.pop("key")
        self._set_end(row)
        self.keys[token] = row
        return {}

    def _key_update(self, asked: Row) -> Any:
        row = self.keys[asked["key"]]
        self._require_free(asked.get("key_alias"), asked["key"])
        self._require_member({**row, **asked})
        row.update({name: value for name, value in asked.items() if name != "key"})
        self._set_end(row)
        return {}

    def _key_block(self, asked: Row) -> Any:
        self.keys[asked["key"]]["blocked"] = True
        return {}

    def _key_delete(self, asked: Row) -> Any:
        for token in asked["keys"]:
            if not self.keys.pop(token)["blocked"]:
                self.taken_elsewhere.add(token)
        return {}

    def _require_free(self, alias: str | None, token: str) -> None:
        taken = [k for k, row in self.keys.items() if alias and row["key_alias"] == alias]
        if taken and taken != [token]:
            raise NotAllowedError(400, f"Key with alias '{alias}' already exists.")

    def _require_member(self, row: Row) -> None:
        team, user = row.get("team_id"), row.get("user_id")
        if team and user in self.users and team not in self.users[user]["teams"]:
            raise NotAllowedError(403, f"User={user} is not a member of the team={team}.")

    @staticmethod
    def _set_end(row: Row) -> None:
        duration = row.pop("duration", None)
        if duration == "-1":
            row["expires"] = None
        elif duration:
            end = datetime.now(UTC) + timedelta(seconds=int(duration.removesuffix("s")))
            row["expires"] = end.isoformat()

    def _paged(self, rows: list[Row], asked: Row, size: str) -> tuple[list[Row], int]:
        length = min(int(asked[size]), self.page)
        start = (int(asked["page"]) - 1) * length
        return rows[start : start + length], -(-len(rows) // length)


@contextmanager
def run_fake_litellm() -> Iterator[FakeLiteLLM]:
    """It answers on a port of this machine until the context ends."""
    fake = FakeLiteLLM()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            self._reply(url.path, dict(parse_qsl(url.query)))

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._reply(self.path, json.loads(self.rfile.read(length)))

        def _reply(self, path: str, asked: Row) -> None:
            fake.asked.append((path, dict(asked)))
            try:
                if self.headers["Authorization"] != f"Bearer {fake.key}":
                    raise NotAllowedError(401, f"Invalid key {self.headers['Authorization']}")
                status, body = 200, fake.answer(path, asked)
            except NotAllowedError as error:
                status, body = error.status, {"error": {"message": error.message}}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        yield fake
