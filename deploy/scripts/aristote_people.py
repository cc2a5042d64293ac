"""Runs in the container of Aristote's sender: reads or changes people in its database.

It takes the requests that LiteLLM's API takes, and says what is there in the same words: teams are
organisations, a key is a row of Aristote's table ``users``. What that has no column for stands in a
table of Atelier's own. Requests are one line of standard input; the address of the database is in
the container's environment: neither is an argument. Prints one line of JSON.

The columns: https://github.com/CentraleSupelec/aristote-dispatcher, ``src/sender/entities`` of
v1.4.3
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import psycopg2

Row = dict[str, Any]
TABLE = (
    "CREATE TABLE IF NOT EXISTS atelier_people"
    " (kind varchar(16), id varchar(255), fields text NOT NULL, PRIMARY KEY (kind, id))"
)
SETTINGS = ("priority", "threshold", "client_type")
"""Columns of a user that the inventory says nothing of, for one person."""
BLOCKED = "blocked "
"""Before a token that is kept and refused: none that is sent can have a space."""
PREFIX = "sk-"
"""Of LiteLLM's keys: https://docs.litellm.ai/docs/proxy/virtual_keys"""
COMMON = ["models", "max_budget", "budget_duration", "tpm_limit", "rpm_limit"]
KEY_ID = ["user_id", "team_id", "metadata", "blocked", *COMMON, "max_parallel_requests"]


class RefusedError(Exception):
    """What cannot be done here."""


def key_id(token: str) -> str:
    """What a key is called where its value must not be said."""
    return hashlib.sha256(token.removeprefix(BLOCKED).encode()).hexdigest()


def fits_litellm(token: str) -> bool:
    """Whether LiteLLM takes such a key, too; Aristote's own command takes any."""
    return token.removeprefix(BLOCKED).startswith(PREFIX)


class People:
    """Both tables.

    Attributes:
        cursor: of a database, as PEP 249 has it.
        account: the deployment's own user, whose settings people have, too.
        organizations: those whose engines serve each model.
    """

    def __init__(self, cursor: Any, account: Row, organizations: dict[str, list[str]]) -> None:
        self.cursor, self.account, self.organizations = cursor, account, organizations
        cursor.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = 'atelier_people'"
        )
        self.has_table = cursor.fetchone()[0] > 0

    def rows(self, kind: str) -> dict[str, Row]:
        """What stands in Atelier's own table, by id; looking does not make that."""
        if not self.has_table:
            return {}
        self.cursor.execute("SELECT id, fields FROM atelier_people WHERE kind = %s", (kind,))
        return {id: json.loads(fields) for id, fields in self.cursor.fetchall()}

    def keep(self, kind: str, id: str, fields: Row) -> None:
        """Write a row of it."""
        self.cursor.execute(
            "INSERT INTO atelier_people (kind, id, fields) VALUES (%s, %s, %s)"
            " ON CONFLICT (kind, id) DO UPDATE SET fields = excluded.fields",
            (kind, id, json.dumps(fields)),
        )

    def drop(self, kind: str, id: str) -> None:
        """Remove a row of it."""
        self.cursor.execute("DELETE FROM atelier_people WHERE kind = %s AND id = %s", (kind, id))

    def tokens(self) -> dict[str, tuple[str, str]]:
        """Name and token of every user but the deployment's own, by id of the key."""
        self.cursor.execute("SELECT name, token FROM users ORDER BY id")
        found = {key_id(token): (name, token) for name, token in self.cursor.fetchall()}
        return {id: user for id, user in found.items() if user[0] != self.account["name"]}

    def look(self) -> Row:
        """Teams, people and keys; users that were made by hand are keys without a mark."""
        kept = self.rows("key")
        keys = [
            {
                **{"token": id, "key_alias": name, **dict.fromkeys(KEY_ID), **kept.get(id, {})},
                "fits_litellm": fits_litellm(token),
            }
            for id, (name, token) in self.tokens().items()
        ]
        teams = [{"team_id": id, **fields} for id, fields in self.rows("team").items()]
        users = [{"user_id": id, **fields} for id, fields in self.rows("person").items()]
        return {"state": "read", "teams": teams, "users": users, "keys": keys}

    def usage(self, column: str, first: str, after: str) -> list[Row]:
        """What the rows of requests add up to, from one day to before another.

        Args:
            column: one of ``COLUMNS``, by which it is told apart.
            first: the first day.
            after: the day after the last.
        """
        self.cursor.execute(
            f"SELECT {column}, count(*), sum(prompt_tokens), sum(completion_tokens) FROM metrics"  # noqa: S608
            f" WHERE request_date >= %s AND request_date < %s GROUP BY {column}",
            (first, after),
        )
        names = ("name", "requests", "prompt_tokens", "completion_tokens")
        return [dict(zip(names, row, strict=True)) for row in self.cursor.fetchall()]

    def apply(self, path: str, body: Row) -> None:
        """Do what a request of LiteLLM's API says.

        Raises:
            RefusedError: if it cannot be done.
        """
        handler = HANDLERS.get(path)
        if handler is None or body.get("ends"):
            raise RefusedError(f"{path}: Aristote has nothing like it")
        if not self.has_table:
            self.cursor.execute(TABLE)
            self.has_table = True
        handler(self, body)

    def team(self, body: Row) -> None:
        """A new team, or other fields of one."""
        self.keep("team", body["team_id"], {**self.rows("team").get(body["team_id"], {}), **body})

    def remove_teams(self, body: Row) -> None:
        """Teams go, and nobody is in them any more; compare.py has taken their keys away."""
        for id in body["team_ids"]:
            self.drop("team", id)
            for person in self.rows("person"):
                self._teams(person, drop=id)

    def person(self, body: Row) -> None:
        """A new person, or other fields of one; their key has the address, too."""
        id = body["user_id"]
        self.keep("person", id, {"teams": [], **self.rows("person").get(id, {}), **body})
        for key, fields in self._keys_of(id).items():
            self._write(key, fields)

    def remove_people(self, body: Row) -> None:
        """People go, and their keys with them."""
        for id in body["user_ids"]:
            self.remove_keys({"keys": list(self._keys_of(id))})
            for key, fields in self.rows("key").items():
                if fields.get("user_id") == id:
                    self.drop("key", key)
            self.drop("person", id)

    def join(self, body: Row) -> None:
        """Somebody comes into a team."""
        self._teams(body["member"]["user_id"], add=body["team_id"])

    def leave(self, body: Row) -> None:
        """Somebody leaves a team."""
        self._teams(body["user_id"], drop=body["team_id"])

    def _teams(self, person: str, add: str = "", drop: str = "") -> None:
        fields = self.rows("person")[person]
        teams = {*fields.get("teams", []), add} - {drop, ""}
        self.keep("person", person, {**fields, "teams": sorted(teams)})

    def new_key(self, body: Row) -> None:
        """A key, which Aristote takes from now on; in the place of another, it is as that is."""
        fields = {name: value for name, value in body.items() if name != "key"}
        old = next(iter(self._keys_of(body.get("user_id") or "")), None)
        if old is None:
            settings: list[Any] = [self.account.get(name) for name in SETTINGS]
        else:
            self.cursor.execute(
                f"SELECT {', '.join(SETTINGS)} FROM users WHERE token = %s",  # noqa: S608
                (self._user(old)[1],),
            )
            settings = list(self.cursor.fetchone())
        self.cursor.execute(
            f"INSERT INTO users (token, name, {', '.join(SETTINGS)})"  # noqa: S608
            " VALUES (%s, %s, %s, %s, %s)",
            (body["key"], body["key_alias"], *settings),
        )
        self._write(key_id(body["key"]), fields)

    def change_key(self, body: Row) -> None:
        """Other fields of a key, by its id."""
        id = body["key"]
        name = self._user(id)[0]
        fields = {"key_alias": name, **self.rows("key").get(id, {})}
        self._write(id, {**fields, **{k: v for k, v in body.items() if k != "key"}})

    def value(self, id: str) -> str:
        """A key that LiteLLM is to take, too.

        Raises:
            RefusedError: if there is none, or LiteLLM takes none like it.
        """
        name, token = self._user(id)
        if not fits_litellm(token):
            raise RefusedError(
                f"the token of {name} does not begin with {PREFIX}, as LiteLLM wants"
            )
        return token.removeprefix(BLOCKED)

    def block_key(self, body: Row) -> None:
        """A key is refused."""
        self.change_key({**body, "blocked": True})

    def remove_keys(self, body: Row) -> None:
        """Keys go."""
        for id in body["keys"]:
            self.cursor.execute("DELETE FROM users WHERE token = %s", (self._user(id)[1],))
            self.drop("key", id)

    def _keys_of(self, person: str) -> dict[str, Row]:
        """What is kept of the keys of a person; not of those that were deleted by hand."""
        there, kept = self.tokens(), self.rows("key").items()
        return {id: row for id, row in kept if id in there and row.get("user_id") == person}

    def _mode(self, organization: str) -> str:
        """The account's, where it leads to engines: Aristote refuses all requests otherwise."""
        has_engines = all(organization in owners for owners in self.organizations.values())
        return str(self.account["default_routing_mode"]) if has_engines else "any"

    def _user(self, id: str) -> tuple[str, str]:
        found = self.tokens().get(id)
        if found is None:
            raise RefusedError(f"there is no key {id[:8]}")
        return found

    def _write(self, id: str, fields: Row) -> None:
        """Both rows of a key."""
        name, token = self._user(id)
        person = self.rows("person").get(fields.get("user_id") or "", {})
        plain = token.removeprefix(BLOCKED)
        organization = fields.get("team_id") or self.account["organization"]
        self.cursor.execute(
            "UPDATE users SET name = %s, organization = %s, email = %s, token = %s,"
            " default_routing_mode = %s WHERE token = %s",
            (
                fields.get("key_alias") or name,
                organization,
                person.get("user_email"),
                BLOCKED + plain if fields.get("blocked") else plain,
                self._mode(organization),
                token,
            ),
        )
        self.keep("key", id, fields)


HANDLERS = {
    "/team/new": People.team,
    "/team/update": People.team,
    "/team/delete": People.remove_teams,
    "/team/member_add": People.join,
    "/team/member_delete": People.leave,
    "/user/new": People.person,
    "/user/update": People.person,
    "/user/delete": People.remove_people,
    "/key/generate": People.new_key,
    "/key/update": People.change_key,
    "/key/block": People.block_key,
    "/key/delete": People.remove_keys,
}


def apply(people: People, requests: list[Row]) -> Row:
    """All requests, or none: an error takes back what was done before it."""
    for request in requests:
        people.apply(request["path"], request["body"])
    return {"done": len(requests)}


def fill(people: People, requests: list[Row]) -> list[Row]:
    """Requests for LiteLLM, with the keys that they name by their ids."""
    filled = []
    for request in requests:
        body = dict(request["body"])
        if id := body.pop("key_of", None):
            body["key"] = people.value(id)
        filled.append({**request, "body": body})
    return filled


def usage(people: People, asked: Row) -> Row:
    """What was used."""
    rows = people.usage(COLUMNS[asked["by"]], asked["first"], asked["after"])
    return {"state": "read", "usage": rows}


COLUMNS = {"user": "user_name", "team": "user_organization", "model": "model"}
ACTIONS: dict[str, Callable[[People, Any], Row | list[Row]]] = {
    "look": lambda people, _: people.look(),
    "apply": apply,
    "fill": fill,
    "usage": usage,
}


def main(action: str) -> int:
    """Look, do all of the requests of standard input or none, put keys into them, add up use.

    The line says of ``usage`` by what, from which day, and before which.
    """
    account = json.loads(os.environ["ATELIER_ACCOUNT"])
    url = os.environ["DATABASE_URL"].replace("postgresql+psycopg2://", "postgresql://", 1)
    asked: Any = [] if action == "look" else json.loads(sys.stdin.readline())
    try:
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            people = People(cursor, account, json.loads(os.environ["MODEL_HOST_MAPPING"]))
            answer = ACTIONS[action](people, asked)
    except (RefusedError, psycopg2.Error) as error:
        # an error of the database may hold a token
        said = str(error) if isinstance(error, RefusedError) else type(error).__name__
        if action in {"apply", "fill"}:
            sys.stderr.write(said + "\n")
            return 1
        answer = {"state": "refused", "said": said}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
