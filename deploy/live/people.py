"""People that the inventory does not declare: added, changed and removed through the router."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError, PeopleError, Problem
from deploy.live.people_problems import declared_person, no_such_person, not_in_aristote
from deploy.live.router import Router
from deploy.live.sender import Sender
from deploy.people.both import ORDER, Found, lacking, merge, of_router
from deploy.people.compare import PeopleChanges, PersonChange, compare
from deploy.people.new_keys import Handover, NewKeys
from deploy.people.records import (
    Live,
    LiveRecord,
    Record,
    end_of,
    is_expired,
    key_fields,
    person_fields,
)
from deploy.people.requests import Request, Requests, revoked
from deploy.plan.people import person_plan
from deploy.plan.people_plan import PeoplePlan, PersonPlan
from deploy.plan.service_plans import TITLES
from deploy.spec import PersonSpec
from deploy.spec.router import RouterKind

DEPLOY = "deploy: what is missing is made, with the same key"
AGAIN = "give the same command again"


@dataclass(frozen=True)
class People:
    """The people of one deployment.

    Attributes:
        artefacts: the deployment.
        routers: each of its routers.
        handover: where new keys are put.
    """

    artefacts: Artefacts
    routers: Mapping[RouterKind, Router | Sender]
    handover: Handover

    @property
    def plan(self) -> PeoplePlan:
        """Whom the inventory declares."""
        return self.artefacts.plan.people or PeoplePlan()

    def found(self) -> Found:
        """What each router has.

        Raises:
            ServiceError: if one does not say.
        """
        return {kind: router.people() for kind, router in self.routers.items()}

    def add(self, people: Iterable[PersonSpec]) -> list[Path]:
        """Give people a key each; those who have one are refused, before anybody is added.

        Returns:
            The files of their keys.

        Raises:
            PeopleError: with one problem per person who cannot be added.
            ServiceError: if a router refuses.
        """
        found = self.found()
        planned = [person_plan(person, self.plan.limits) for person in people]
        problems = [each for person in planned for each in self._unwanted(person, found)]
        if problems := [*problems, *self._taken(planned, found)]:
            raise PeopleError(*problems)
        keys = NewKeys.of([person.name for person in planned], planned)
        records = [
            record
            for person in planned
            for record in (
                Record("person", person.name, person_fields(person)),
                Record("key", person.name, key_fields(person)),
            )
        ]
        name, made = self.artefacts.plan.name, _now()
        seen = frozenset(keys.values) if len(found) > 1 else frozenset()
        wanted = {}
        for kind, live in found.items():
            # Aristote learns last that both have them: see deploy/people/share.py
            shared = seen if kind == "litellm" else frozenset()
            requests = Requests(name, "command", keys.values, made=made, shared=shared)
            changes = compare(of_router(kind, records), live, name, "command")
            wanted[kind] = requests.of(changes)
        paths = self._hand_over_and_send(wanted, keys, DEPLOY)
        if seen:
            # their keys are good; the next deployment writes it down otherwise
            with suppress(AtelierError):
                self._note(Requests(name, "command", made=made, shared=seen))
        return paths

    def rotate(self, name: str) -> list[Path]:
        """Give a person a new key in the place of the one they have, with what it has spent.

        Raises:
            PeopleError: if they have none.
            ServiceError: if a router refuses.
        """
        found = self.found()
        old = _key(name, merge(found))
        expires = old.fields["expires"]
        if expires and end_of(str(expires)) <= datetime.now(UTC):
            ended = f"the key ended: {expires}"
            raise PeopleError(
                Problem(name, ended, fix="declare another expires, or remove and add")
            )
        declared = self.plan.person(name)
        public_keys = {name: declared.public_key if declared else None}
        keys = NewKeys({name: NewKeys.of([name], []).values[name]}, public_keys)
        keeper, deployment = old.keeper or "command", old.deployment or self.artefacts.plan.name
        requests = Requests(deployment, keeper, keys.values, made=_now())
        wanted = {
            kind: requests.of(PeopleChanges((_new_key(name, old, kind, live),)))
            for kind, live in found.items()
            if live.find("key", name) or live.find("person", name)
        }
        return self._hand_over_and_send(wanted, keys, DEPLOY)

    def disable(self, name: str, *, disabled: bool) -> tuple[str, ...]:
        """Refuse a person's key from now on, or accept it again.

        Returns:
            The routers that do not know the key.

        Raises:
            PeopleError: if they have none, or are declared.
            ServiceError: if a router refuses.
        """
        self._require_undeclared(name, f"disabled={disabled}")
        found = self.found()
        _key(name, merge(found))
        keys = {kind: live.find("key", name) for kind, live in found.items()}
        self._send(
            {
                kind: [Request("/key/update", {"key": key.id, "blocked": disabled})]
                for kind, key in keys.items()
                if key
            },
            AGAIN,
        )
        return tuple(TITLES[kind] for kind in lacking(found, name))

    def remove(self, name: str) -> None:
        """Remove a person and their key; what they used stays in the figures.

        Raises:
            PeopleError: if there is no such person, or they are declared.
            ServiceError: if a router refuses.
        """
        self._require_undeclared(name, "")
        found = self.found()
        everybody = merge(found)
        if not everybody.find("person", name) and not everybody.find("key", name):
            raise PeopleError(no_such_person(name, everybody))
        keys = {
            kind: [key.id for key in live.of("key") if key.name == name]
            for kind, live in found.items()
        }
        requests = {kind: revoked(ids) for kind, ids in keys.items()}
        for kind, live in found.items():
            if live.find("person", name):
                requests[kind].append(Request("/user/delete", {"user_ids": [name]}))
        self._send(requests, AGAIN)

    def _unwanted(self, person: PersonPlan, found: Found) -> list[Problem]:
        problems = []
        if self.plan.person(person.name):
            problems.append(declared_person(person.name, ""))
        elif merge(found).find("key", person.name):
            fix = f"atelier users rotate INVENTORY {person.name}: a new key in its place"
            problems.append(Problem(person.name, "has a key already", fix=fix))
        each = [{team.name for team in live.of("team")} for live in found.values()]
        teams = sorted(set.intersection(*each))
        if person.team is not None and person.team not in teams:
            allowed = ", ".join(teams) or "a team of the inventory; it declares none"
            problems.append(Problem(f"{person.name}: team", repr(person.team), allowed))
        spec = self.artefacts.spec
        if spec.router_of("aristote"):
            problems += not_in_aristote(person, is_alone=spec.router_of("litellm") is None)
        served = [*(model.served_name for model in spec.models), *spec.aliases]
        for model in person.models:
            if model not in served:
                problems.append(Problem(f"{person.name}: models", repr(model), ", ".join(served)))
        if is_expired(person, datetime.now(UTC).date()):
            problems.append(
                Problem(f"{person.name}: expires", str(person.expires), "a day in the future")
            )
        return problems

    def _taken(self, people: Iterable[PersonPlan], found: Found) -> Iterator[Problem]:
        """Addresses of somebody else, by which requests in the web UI would count as theirs."""
        records = merge(found).of("person")
        owners = {str(each.fields["email"] or "").lower(): each.name for each in records}
        owners |= {(each.email or "").lower(): each.name for each in self.plan.people}
        for person in people:
            address = (person.email or "").lower()
            owner = owners.setdefault(address, person.name)
            if address and owner != person.name:
                said = f"{person.email} is the address of {owner}"
                yield Problem(f"{person.name}: email", said, "one person each")

    def _require_undeclared(self, name: str, setting: str) -> None:
        if self.plan.person(name):
            raise PeopleError(declared_person(name, setting))

    def _hand_over_and_send(
        self, requests: Mapping[RouterKind, list[Request]], keys: NewKeys, fix: str
    ) -> list[Path]:
        try:
            paths = keys.hand_over(self.handover)
        except (OSError, ValueError) as error:
            found = f"a new key cannot be written: {error}"
            raise PeopleError(Problem(str(self.handover.directory), found)) from None
        try:
            self._send(requests, fix)
        except AtelierError as error:
            said = [replace(each, found=keys.redact(each.found)) for each in error.problems]
            raise type(error)(*said) from None
        return paths

    def _note(self, requests: Requests) -> None:
        """Write down in Aristote that both routers have the keys of somebody."""
        found = self.routers["aristote"].people()
        keys = [key for key in found.of("key") if key.name in requests.shared]
        noted = [PersonChange("update", "key", key.name, (), key, key) for key in keys]
        self.routers["aristote"].send(requests.of(PeopleChanges(tuple(noted))))

    def _send(self, requests: Mapping[RouterKind, list[Request]], fix: str) -> None:
        """Send each router its requests; a later one that refuses does not undo an earlier one."""
        done: list[str] = []
        for kind in (each for each in ORDER if each in requests):
            try:
                self.routers[kind].send(requests[kind])
            except AtelierError as error:
                if not done:
                    raise
                found = f"{' and '.join(done)} has the change, {TITLES[kind]} has not"
                raise type(error)(*error.problems, Problem("people", found, fix=fix)) from None
            done.append(TITLES[kind])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_key(name: str, old: LiveRecord, kind: RouterKind, live: Live) -> PersonChange:
    """Another key for somebody in one router, in the place of the one that is there."""
    there = live.find("key", name)
    fields = {**(there or old).fields, "alias": name}
    [wanted] = of_router(kind, [Record("key", name, fields)])
    return PersonChange("replace" if there else "create", "key", name, (), wanted, there)


def _key(name: str, everybody: Live) -> LiveRecord:
    key = everybody.find("key", name)
    if key is None:
        raise PeopleError(no_such_person(name, everybody))
    return key
