"""People of Aristote, in its database: reached through the container of its sender."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NoReturn

from docker.errors import DockerException

from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection
from deploy.live.privacy import execs
from deploy.people.records import Live, live
from deploy.people.requests import Request
from deploy.people.usage import By, Usage
from deploy.scripts import read_script

SCRIPT = "aristote_people.py"


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
        answer = json.loads(self._run("look", "\n"))
        if answer["state"] != "read":
            self._refuse(f"its database refused: {answer['said']}")
        return live(answer)

    def usage(self, by: By, first: date, last: date) -> list[Usage]:
        """Not counted yet.

        Raises:
            ServiceError: always.
        """
        raise ServiceError(
            Problem(
                "router.kind",
                f"atelier usage does not read what Aristote counts (by {by}, {first} to {last})",
                "kind 'litellm'",
                "its table metrics: docs/aristote.md",
            )
        )

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
