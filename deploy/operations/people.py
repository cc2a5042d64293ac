"""People, teams and keys of the router, as they are declared."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.facts.people import IN_CONTAINER, SCRIPT, People, PeopleState
from deploy.handover import handover
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, refuse, show_failure
from deploy.operations.lock import changes_host
from deploy.operations.questions import people_question
from deploy.operations.script import ScriptCommand
from deploy.people.compare import PeopleChanges, compare
from deploy.people.new_keys import Handover, NewKeys
from deploy.people.records import is_expired, wanted
from deploy.people.requests import Request, Requests
from deploy.plan.people_plan import PeoplePlan
from deploy.scripts import read_script
from deploy.services.litellm import PORT


@changes_host
def declared(artefacts: Artefacts, plan: PeoplePlan) -> Commands:
    """The router has the declared teams and people, each with a key and their limits.

    What was changed by hand in the router's own UI is put right; keys of others are left alone. A
    new key is written for its person on this machine before the router knows it.
    """
    found = look.ask(People, **people_question(artefacts))
    if not found.is_known:
        yield from _unknown(found)
        return
    today = _today()
    changes = compare(wanted(plan, today), found.live, artefacts.plan.name)
    if changes.foreign:
        yield from refuse("; ".join(changes.foreign))
        return
    _tell(changes, plan, today)
    announce_all(change.change for change in changes.changes)
    if not changes.changes:
        host.noop("people, teams and keys are as declared")
        return
    keys = NewKeys.of(changes.new_keys, plan.people)
    if keys.values:
        yield FunctionCommand(_hand_over, (keys, handover(artefacts)), {})
    requests = Requests(artefacts.plan.name, "inventory", keys.values).of(changes)
    yield people_command(artefacts, requests, keys)


def people_command(artefacts: Artefacts, requests: list[Request], keys: NewKeys) -> ScriptCommand:
    """Sends requests to the router's API; keys are on standard input."""
    body = json.dumps([{"path": each.path, "body": dict(each.body)} for each in requests])
    names = people_question(artefacts)["containers"]
    program = read_script(IN_CONTAINER[artefacts.plan.router.spec.kind])
    return ScriptCommand(
        SCRIPT,
        *("apply", program, str(PORT), *names),
        stdin=body,
        redact=lambda text: artefacts.secrets.redact(keys.redact(text)),
        progress="telling the router about people",
    )


def _today() -> date:
    return datetime.now(UTC).date()


def _unknown(found: PeopleState) -> Commands:
    """In a dry run the router or its database may be about to start; after that it must answer."""
    why = "no router runs" if found.state == "stopped" else f"the router refused: {found.said}"
    if state.is_executing:
        yield from refuse(f"people and keys cannot be compared: {why}")
    else:
        host.log(f"people and keys are compared when the router answers: {why}")


def _tell(changes: PeopleChanges, plan: PeoplePlan, today: date) -> None:
    for person in plan.people:
        if is_expired(person, today):
            host.log(f"{person.name}: the key ended after {person.expires}; there is none now")
    if changes.others:
        names = ", ".join(changes.others)
        host.log(f"keys that were made by hand in the router are left alone: {names}")


def _hand_over(state: State, host: Host, keys: NewKeys, to: Handover) -> bool:  # noqa: ARG001
    try:
        paths: list[Path] = keys.hand_over(to)
    except (OSError, ValueError) as error:
        show_failure(host, f"a new key cannot be written for its person: {error}")
        return False
    for path in paths:
        host.log(f"a new key is in {path}: give it to its person, then delete the file")
    return True
