"""People that the inventory does not declare: added, changed and removed through the router."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError, PeopleError, Problem
from deploy.live.router import Router
from deploy.live.sender import Sender
from deploy.people.compare import compare
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
from deploy.plan.people import ARISTOTE_ACCOUNT, aristote_lacks, person_plan
from deploy.plan.people_plan import PeoplePlan, PersonPlan
from deploy.spec import PersonSpec


@dataclass(frozen=True)
class People:
    """The people of one deployment.

    Attributes:
        artefacts: the deployment.
        router: its router.
        handover: where new keys are put.
    """

    artefacts: Artefacts
    router: Router | Sender
    handover: Handover

    @property
    def plan(self) -> PeoplePlan:
        """Whom the inventory declares."""
        return self.artefacts.plan.people or PeoplePlan()

    def add(self, people: Iterable[PersonSpec]) -> list[Path]:
        """Give people a key each; those who have one are refused, before anybody is added.

        Returns:
            The files of their keys.

        Raises:
            PeopleError: with one problem per person who cannot be added.
            ServiceError: if the router refuses.
        """
        found = self.router.people()
        planned = [person_plan(person, self.plan.limits) for person in people]
        if problems := [each for person in planned for each in self._unwanted(person, found)]:
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
        name = self.artefacts.plan.name
        changes = compare(records, found, name, "command")
        return self._hand_over_and_send(Requests(name, "command", keys.values).of(changes), keys)

    def rotate(self, name: str) -> list[Path]:
        """Give a person a new key in the place of the one they have, with what it has spent.

        Raises:
            PeopleError: if they have none.
            ServiceError: if the router refuses.
        """
        old = self._key(name)
        expires = old.fields["expires"]
        if expires and end_of(str(expires)) <= datetime.now(UTC):
            found = f"the key ended: {expires}"
            raise PeopleError(
                Problem(name, found, fix="declare another expires, or remove and add")
            )
        declared = self.plan.person(name)
        public_keys = {name: declared.public_key if declared else None}
        keys = NewKeys({name: NewKeys.of([name], []).values[name]}, public_keys)
        keeper, deployment = old.keeper or "command", old.deployment or self.artefacts.plan.name
        wanted = Record("key", name, {**old.fields, "alias": name})
        [made] = Requests(deployment, keeper, keys.values).of(compare([wanted], Live(), deployment))
        requests = [
            # aliases are unique; if this stops half-way, the old key is still that person's
            Request("/key/update", {"key": old.id, "key_alias": f"{name} until {old.id[:8]}"}),
            replace(made, body={**made.body, "spend": old.spend}),
            *revoked([old.id]),
        ]
        return self._hand_over_and_send(requests, keys)

    def disable(self, name: str, *, disabled: bool) -> None:
        """Refuse a person's key from now on, or accept it again.

        Raises:
            PeopleError: if they have none, or are declared.
            ServiceError: if the router refuses.
        """
        self._require_undeclared(name, f"disabled={disabled}")
        key = self._key(name)
        self.router.send([Request("/key/update", {"key": key.id, "blocked": disabled})])

    def remove(self, name: str) -> None:
        """Take a person and their key away; what they used stays in the figures.

        Raises:
            PeopleError: if there is no such person, or they are declared.
            ServiceError: if the router refuses.
        """
        self._require_undeclared(name, "")
        found = self.router.people()
        if not found.find("person", name) and not found.find("key", name):
            raise PeopleError(_no_such(name, found))
        requests = revoked(key.id for key in found.of("key") if key.name == name)
        if found.find("person", name):
            requests.append(Request("/user/delete", {"user_ids": [name]}))
        self.router.send(requests)

    def _unwanted(self, person: PersonPlan, found: Live) -> list[Problem]:
        problems = []
        if self.plan.person(person.name):
            problems.append(_declared(person.name, ""))
        elif found.find("key", person.name):
            fix = f"atelier users rotate INVENTORY {person.name}: a new key in its place"
            problems.append(Problem(person.name, "has a key already", fix=fix))
        teams = sorted(team.name for team in found.of("team"))
        if person.team is not None and person.team not in teams:
            allowed = ", ".join(teams) or "a team of the inventory, and there is none"
            problems.append(Problem(f"{person.name}: team", repr(person.team), allowed))
        spec = self.artefacts.spec
        if spec.router.kind == "aristote":
            problems += _not_in_aristote(person)
        served = [*(model.served_name for model in spec.models), *spec.router.aliases]
        for model in person.models:
            if model not in served:
                problems.append(Problem(f"{person.name}: models", repr(model), ", ".join(served)))
        if is_expired(person, datetime.now(UTC).date()):
            problems.append(
                Problem(f"{person.name}: expires", str(person.expires), "a day to come")
            )
        return problems

    def _key(self, name: str) -> LiveRecord:
        found = self.router.people()
        key = found.find("key", name)
        if key is None:
            raise PeopleError(_no_such(name, found))
        return key

    def _require_undeclared(self, name: str, setting: str) -> None:
        if self.plan.person(name):
            raise PeopleError(_declared(name, setting))

    def _hand_over_and_send(self, requests: list[Request], keys: NewKeys) -> list[Path]:
        try:
            paths = keys.hand_over(self.handover)
        except (OSError, ValueError) as error:
            found = f"a new key cannot be written: {error}"
            raise PeopleError(Problem(str(self.handover.directory), found)) from None
        try:
            self.router.send(requests)
        except AtelierError as error:
            said = [replace(each, found=keys.redact(each.found)) for each in error.problems]
            raise type(error)(*said) from None
        return paths


def _not_in_aristote(person: PersonPlan) -> list[Problem]:
    """What Aristote has nothing for, and the name that its first user has."""
    found = "set, and Aristote has nothing like it"
    problems = [
        Problem(f"{person.name}: {name}", found, fix="leave it out")
        for name in aristote_lacks(person)
    ]
    if person.name == ARISTOTE_ACCOUNT:
        problems.append(Problem(person.name, "its key is the master key", "another name"))
    return problems


def _declared(name: str, setting: str) -> Problem:
    how = f"Person(name={name!r}, {setting})" if setting else f"Person(name={name!r})"
    return Problem(
        name,
        "declared in the inventory",
        "people that the inventory does not declare",
        f"change it there ({how}), and deploy",
    )


def _no_such(name: str, found: Live) -> Problem:
    names = ", ".join(sorted({record.name for record in found.of("key")}))
    return Problem(name, "has no key", names or "somebody with a key, and there is no one")
