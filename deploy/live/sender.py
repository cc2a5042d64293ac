"""People of Aristote, in its database: reached through the container of its sender."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NoReturn

from docker.errors import DockerException

from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection
from deploy.live.privacy import execs
from deploy.people.records import Live, live
from deploy.people.requests import Request
from deploy.people.usage import NO_PERSON, By, Usage, by_tokens
from deploy.plan.people import ARISTOTE_ACCOUNT
from deploy.scripts import read_script

SCRIPT = "aristote_people.py"
MASTER_KEY, NO_TEAM = NO_PERSON["default_user_id"], NO_PERSON["Unassigned"]


@dataclass(frozen=True)
class Sender:
    """A sender that runs.

    Attributes:
        connection: to Docker of its host.
        container: its name.
    """

    connection: Connection = field(repr=False)
    container: str

    def people(self) -> Live:
        """Teams, people and keys.

        Raises:
            ServiceError: if its database does not say.
        """
        return live(self._read("look", ""))

    def usage(self, by: By, first: date, last: date) -> list[Usage]:
        """Who used how much, from one day to another, both included; teams are organisations.

        Aristote writes a row for each request that reached an engine, without tokens of streams
        whose client did not ask for them.

        Raises:
            ServiceError: if its database does not say.
        """
        days = {"first": first.isoformat(), "after": (last + timedelta(1)).isoformat()}
        answer = self._read("usage", json.dumps({"by": by, **days}))
        found = [
            Usage(
                _name(by, row["name"]),
                requests=row["requests"],
                prompt_tokens=row["prompt_tokens"] or 0,
                completion_tokens=row["completion_tokens"] or 0,
            )
            for row in answer["usage"]
        ]
        return by_tokens(found)

    def send(self, requests: Iterable[Request]) -> None:
        """Do all of the requests, or none.

        Raises:
            ServiceError: if one is refused.
        """
        wanted = [{"path": each.path, "body": dict(each.body)} for each in requests]
        said = self._run("apply", json.dumps(wanted) + "\n")
        try:
            is_done = json.loads(said) == {"done": len(wanted)}
        except ValueError:
            is_done = False
        if not is_done:
            self._refuse(said[:300])

    def _read(self, action: str, line: str) -> Any:
        """What the script says is there."""
        said = self._run(action, line + "\n")
        try:
            answer = json.loads(said)
        except ValueError:
            self._refuse(said[:300])
        if answer["state"] != "read":
            self._refuse(f"its database refused: {answer['said']}")
        return answer

    def _run(self, action: str, line: str) -> str:
        """What the script prints; keys are on its standard input."""
        command = ["python3", "-c", read_script(SCRIPT), action]
        try:
            chunks = execs.stream(self.connection.client, self.container, command, line)
            return b"".join(chunks).decode("utf-8", "replace").strip()
        except DockerException as error:
            self._refuse(type(error).__name__)

    def _refuse(self, found: str) -> NoReturn:
        fix = "see what `atelier status` says of it"
        raise ServiceError(Problem(self.container, found, fix=fix))


def _name(by: By, name: str | None) -> str:
    """Users that were made by hand may have no organisation."""
    if by == "user" and name == ARISTOTE_ACCOUNT:
        return MASTER_KEY
    return NO_TEAM if name is None else name
