"""Who the router has keys for, as its own API says."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field, replace
from typing import Literal

from pyinfra.api import FactBase

from deploy.facts.engine import UNLESS_ENGINE
from deploy.people.records import Live, live
from deploy.scripts import read_script
from deploy.services.litellm import PORT
from deploy.spec.router import RouterKind

SCRIPT = "people.sh"
IN_CONTAINER: dict[RouterKind, str] = {"aristote": "aristote_people.py", "litellm": "router_api.py"}
"""What runs in the router's container: both print the same, and take the same requests."""
State = Literal["read", "absent", "stopped", "no database", "refused"]


@dataclass(frozen=True)
class PeopleState:
    """The people of a router, or why they cannot be known."""

    state: State = "absent"
    live: Live = field(default_factory=Live)
    said: str = ""
    """What the router said when it refused."""

    @property
    def is_known(self) -> bool:
        """Whether all that the router has is known; one that was never there has nothing."""
        return self.state in {"read", "absent", "no database"}

    def as_one_that_was(self) -> PeopleState:
        """The same of a router that was there: one without containers has people, too."""
        return replace(self, state="stopped") if self.state == "absent" else self


class People(FactBase[PeopleState]):
    """Teams, people and keys of a router."""

    def command(self, containers: tuple[str, ...], router: RouterKind) -> str:
        """Ask the first router that runs.

        Args:
            containers: names of the containers of its replicas.
            router: which router it is.
        """
        arguments = ["look", read_script(IN_CONTAINER[router]), str(PORT), *containers]
        script = shlex.join(["sh", "-c", read_script(SCRIPT), "atelier", *arguments])
        return f"{UNLESS_ENGINE}; {script} </dev/null"

    @staticmethod
    def default() -> PeopleState:
        """A host without a router."""
        return PeopleState()

    def process(self, output: list[str]) -> PeopleState:
        """Read the line."""
        rows = [line for line in output if line.startswith("{")]
        if not rows:
            return PeopleState()
        answer = json.loads(rows[-1])
        return PeopleState(answer["state"], live(answer), answer.get("said", ""))
