"""People, teams and keys of the router, as they are declared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.artefacts import Artefacts
from deploy.endpoints import handover
from deploy.facts import look
from deploy.facts.people import IN_CONTAINER, SCRIPT, People, PeopleState
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, refuse, show_failure
from deploy.operations.lock import changes_host
from deploy.operations.questions import people_question
from deploy.operations.script import ScriptCommand
from deploy.people.new_keys import Handover, NewKeys
from deploy.people.records import is_expired, wanted
from deploy.people.requests import KEY_OF, Request
from deploy.people.share import RouterChanges, Shared, share
from deploy.plan.people_plan import PeoplePlan
from deploy.plan.service_plans import RouterPlan
from deploy.scripts import read_script
from deploy.services.litellm import PORT
from deploy.services.routes import router_names
from deploy.spec.router import RouterKind


@changes_host
def declared(artefacts: Artefacts, plan: PeoplePlan) -> Commands:
    """Every router has the declared teams and people, each with a key and their limits.

    What was changed by hand in a router's own UI is put right; keys of others are left alone. A
    new key is written for its person on this machine before a router knows it. Of two routers both
    have the same people with the same keys, also of those whom ``atelier users`` added.
    """
    found = _found(artefacts)
    if not all(each.is_known for each in found.values()):
        yield from _unknown(artefacts, found)
        return
    today = _today()
    live = {kind: each.live for kind, each in found.items()}
    shared = share(wanted(plan, today), live, artefacts.plan.name, today)
    if shared.foreign:
        yield from refuse("; ".join(shared.foreign))
        return
    _tell_ended(plan, today)
    for router in _in_order(artefacts, shared):
        _announce(shared.routers[router.spec.kind], _where(artefacts, router))
    if not shared.changes_something:
        host.noop("people, teams and keys are as declared")
        return
    keys = NewKeys.of(shared.new_keys, plan.people)
    if keys.values:
        yield FunctionCommand(_hand_over, (keys, handover(artefacts)), {})
    made = datetime.now(UTC).isoformat(timespec="seconds")
    for kind, requests in shared.steps(artefacts.plan.name, keys.values, made):
        yield people_command(artefacts, kind, requests, keys)


def _found(artefacts: Artefacts) -> dict[RouterKind, PeopleState]:
    """What each router has.

    One that is not there, while the other one has keys that both had, comes back: what is in its
    database is known when it runs.
    """
    found = {
        router.spec.kind: look.ask(People, **people_question(artefacts, router))
        for router in artefacts.plan.routers
    }
    if any(record.shared for each in found.values() for record in each.live.records):
        return {kind: each.as_one_that_was() for kind, each in found.items()}
    return found


def people_command(
    artefacts: Artefacts, kind: RouterKind, requests: list[Request], keys: NewKeys
) -> ScriptCommand:
    """Sends requests to a router.

    New keys are on standard input; those that LiteLLM gets from Aristote do not leave the host.
    """
    body = json.dumps([{"path": each.path, "body": dict(each.body)} for each in requests])
    action, source = "apply", tuple[str, ...]()
    if any(KEY_OF in each.body for each in requests):
        script = read_script(IN_CONTAINER["aristote"])
        action, source = "copy", ("--", script, *_containers(artefacts, "aristote"))
    return ScriptCommand(
        SCRIPT,
        *(action, read_script(IN_CONTAINER[kind]), str(PORT)),
        *(*_containers(artefacts, kind), *source),
        stdin=body,
        redact=lambda text: artefacts.secrets.redact(keys.redact(text)),
        progress="telling the router about people",
    )


def _containers(artefacts: Artefacts, kind: RouterKind) -> tuple[str, ...]:
    router = artefacts.plan.router_of(kind)
    return router_names(artefacts.context, router) if router else ()


def _in_order(artefacts: Artefacts, shared: Shared) -> list[RouterPlan]:
    by_kind = {router.spec.kind: router for router in artefacts.plan.routers}
    return [by_kind[kind] for kind in shared.routers]


def _where(artefacts: Artefacts, router: RouterPlan) -> str:
    """Which router, where there are two."""
    return router.title if len(artefacts.plan.routers) > 1 else ""


def _announce(own: RouterChanges, where: str) -> None:
    if own.declared.others:
        names = ", ".join(own.declared.others)
        there = where or "the router"
        host.log(f"keys that were made by hand in {there} are left alone: {names}")
    announce_all(change.announced(where) for change in own.all)


def _today() -> date:
    return datetime.now(UTC).date()


def _unknown(artefacts: Artefacts, found: Mapping[RouterKind, PeopleState]) -> Commands:
    """In a dry run a router or its database may be about to start; after that it must answer."""
    for router in artefacts.plan.routers:
        there, own = _where(artefacts, router), found[router.spec.kind]
        if own.is_known:
            continue
        why = f"{there or 'the router'} refused: {own.said}"
        if own.state == "stopped":
            why = f"no {there or 'router'} runs"
        if state.is_executing:
            yield from refuse(f"people and keys cannot be compared: {why}")
        else:
            then = f"when {there or 'the router'} answers"
            host.log(f"people and keys are compared {then}: {why}")


def _tell_ended(plan: PeoplePlan, today: date) -> None:
    for person in plan.people:
        if is_expired(person, today):
            host.log(f"{person.name}: the key ended after {person.expires}; there is none now")


def _hand_over(state: State, host: Host, keys: NewKeys, to: Handover) -> bool:  # noqa: ARG001
    try:
        paths: list[Path] = keys.hand_over(to)
    except (OSError, ValueError) as error:
        show_failure(host, f"a new key cannot be written for its person: {error}")
        return False
    for path in paths:
        host.log(f"a new key is in {path}: give it to its person, then delete the file")
    return True
