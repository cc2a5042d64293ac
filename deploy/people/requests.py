"""The requests that change people, in an order that works at every point where it may stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.people.compare import PeopleChanges, PersonChange
from deploy.people.records import (
    KEY_LIMITS,
    TEAM_LIMITS,
    Keeper,
    LiveRecord,
    Record,
    end_of,
    mark,
)

ENDS = "ends"
"""Where a body says when a key ends; who sends it makes a duration of it, by the router's clock."""
KEY_OF = "key_of"
"""Where a body names a key of Aristote's by its id: the host puts the key itself in its place."""


@dataclass(frozen=True)
class Request:
    """One call of LiteLLM's API."""

    path: str
    body: Mapping[str, Any] = field(repr=False)
    """Its JSON; a key may be in it."""


@dataclass(frozen=True)
class Requests:
    """Makes requests for one deployment.

    Attributes:
        deployment: its name.
        keeper: who looks after what is changed.
        keys: values of new keys, by person.
        copied: the keys that are taken from Aristote, by person.
        made: when new keys are made, in ISO 8601 and UTC.
        shared: whose keys both of two routers have.
    """

    deployment: str
    keeper: Keeper
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    copied: Mapping[str, LiveRecord] = field(default_factory=dict)
    made: str = ""
    shared: frozenset[str] = frozenset()

    def of(self, changes: PeopleChanges) -> list[Request]:
        """The requests that carry changes out.

        Teams come before their people, and people before their keys; who leaves a team leaves it
        when their key has left it, because LiteLLM deletes the keys that a member has in a team.
        Who goes does so before others come: LiteLLM refuses somebody with another one's address.
        """
        return [
            *(self._team(change) for change in changes.of("team", "create", "update")),
            *revoked(change.live.id for change in changes.of("key", "revoke") if change.live),
            *(
                Request("/user/delete", {"user_ids": [change.name]})
                for change in changes.of("person", "remove")
            ),
            *self._people(changes),
            *(self._key(change) for change in changes.of("key", "create", "update")),
            *(each for change in changes.of("key", "replace") for each in self._other_key(change)),
            *self._leave(changes),
            *(
                Request("/team/delete", {"team_ids": [change.name]})
                for change in changes.of("team", "remove")
            ),
        ]

    def _team(self, change: PersonChange) -> Request:
        record = _wanted(change)
        body = {
            "team_id": record.name,
            "team_alias": record.name,
            "models": list(_texts(record, "models")),
            **{name: record.fields[name] for name in TEAM_LIMITS},
            "metadata": self._metadata(record, change.live),
        }
        if change.live:
            return Request("/team/update", {**body, "blocked": record.fields["disabled"]})
        return Request("/team/new", body)

    def _people(self, changes: PeopleChanges) -> Iterator[Request]:
        for change in (*changes.of("person", "update"), *changes.of("person", "create")):
            record = _wanted(change)
            body = {
                "user_id": record.name,
                "user_alias": record.name,
                "user_email": record.fields["email"],
                "metadata": self._metadata(record, change.live),
            }
            if change.live:
                yield Request("/user/update", body)
            else:
                role = {"user_role": "internal_user", "auto_create_key": False}
                yield Request("/user/new", {**body, **role})
            there = _texts(change.live, "teams") if change.live else ()
            for team in _texts(record, "teams"):
                if team not in there:
                    member = {"role": "user", "user_id": record.name}
                    yield Request("/team/member_add", {"team_id": team, "member": member})

    @staticmethod
    def _leave(changes: PeopleChanges) -> Iterator[Request]:
        for change in changes.of("person", "update"):
            for team in _texts(change.live, "teams") if change.live else ():
                if team not in _texts(_wanted(change), "teams"):
                    body = {"team_id": team, "user_id": change.name}
                    yield Request("/team/member_delete", body)

    def _key(self, change: PersonChange) -> Request:
        record, fields = _wanted(change), _wanted(change).fields
        body = {
            "key_alias": fields["alias"],
            "user_id": fields["person"],
            "team_id": fields["team"],
            "models": list(_texts(record, "models")),
            **{name: fields[name] for name in KEY_LIMITS},
            "blocked": fields["disabled"],
            "metadata": self._metadata(record, change.live, self._notes(change)),
        }
        expires = fields["expires"]
        ends = end_of(str(expires)).isoformat() if expires else None
        if change.live is None:
            new = self._value(change.name) | ({ENDS: ends} if ends else {})
            return Request("/key/generate", {**body, **new})
        if change.live.fields["expires"] != expires:
            body |= {ENDS: ends} if ends else {"duration": "-1"}
        return Request("/key/update", {**body, "key": change.live.id})

    def _value(self, name: str) -> dict[str, str]:
        """What a key is, or which of Aristote's it is."""
        there = self.copied.get(name)
        return {KEY_OF: there.id} if there else {"key": self.keys[name]}

    def _notes(self, change: PersonChange) -> dict[str, Any]:
        """When a key was made, and whether both routers have it."""
        copied, live = self.copied.get(change.name), change.live
        is_there = live is not None and change.action != "replace"
        made = live.made if live and is_there else copied.made if copied else self.made
        shared = change.name in self.shared or (live is not None and live.shared)
        return ({"made": made} if made else {}) | ({"shared": True} if shared else {})

    def _other_key(self, change: PersonChange) -> Iterator[Request]:
        """A key in the place of the one that there is, with what that has spent."""
        old = change.live
        assert old is not None  # noqa: S101 - one that is replaced is there
        made = self._key(replace(change, live=None))
        metadata = self._metadata(_wanted(change), old, self._notes(change))
        body = {**made.body, "metadata": metadata, "spend": old.spend}
        # aliases are unique; if this stops half-way, the old key is still that person's
        alias = f"{change.name} until {old.id[:8]}"
        yield Request("/key/update", {"key": old.id, "key_alias": alias})
        yield replace(made, body=body)
        yield from revoked([old.id])

    def _metadata(
        self, record: Record, there: LiveRecord | None, notes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        others = there.metadata if there else {}
        return {**others, **mark(record, self.deployment, self.keeper, notes)}


def revoked(keys: Iterable[str]) -> list[Request]:
    """What takes keys away, by their ids.

    Routers tell each other through Valkey that a key is blocked, and not that it was deleted: the
    others would take it for a minute.
    """
    each = list(keys)
    blocked = [Request("/key/block", {"key": key}) for key in each]
    return [*blocked, Request("/key/delete", {"keys": each})] if each else []


def _wanted(change: PersonChange) -> Record:
    assert change.wanted is not None  # noqa: S101 - of what goes, nothing is made or changed
    return change.wanted


def _texts(record: Record, name: str) -> tuple[str, ...]:
    value = record.fields[name]
    return value if isinstance(value, tuple) else ()
