"""What has to change in the router so that it has the people that are declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.people.records import Fields, Keeper, Kind, Live, LiveRecord, Record, Value

Action = Literal["create", "update", "replace", "revoke", "remove"]
"""``replace`` is of a key alone: another one comes in its place."""
BY_HAND = "(changed by hand)"
KEPT_BY = "kept by"


@dataclass(frozen=True)
class PersonChange:
    """One record that changes."""

    action: Action
    kind: Kind
    name: str
    fields: tuple[FieldChange, ...] = ()
    wanted: Record | None = None
    """What it becomes; ``None`` if it goes."""
    live: LiveRecord | None = None
    """What it is; ``None`` if it is new."""

    def announced(self, where: str = "") -> Change:
        """As it is announced.

        Args:
            where: the router, where there are two.
        """
        resource = f"key of {self.name}" if self.kind == "key" else f"{self.kind} {self.name}"
        return Change(f"{resource} in {where}" if where else resource, self.action, self.fields)


@dataclass(frozen=True)
class PeopleChanges:
    """Everything that changes, and what else is worth knowing."""

    changes: tuple[PersonChange, ...] = ()
    foreign: tuple[str, ...] = ()
    """What belongs to another deployment, and is in the way."""
    others: tuple[str, ...] = ()
    """Keys that neither a deployment nor ``atelier users`` made; they are left alone."""

    def of(self, kind: Kind, *actions: Action) -> tuple[PersonChange, ...]:
        """The changes of a kind."""
        return tuple(c for c in self.changes if c.kind == kind and c.action in actions)

    @property
    def new_keys(self) -> tuple[str, ...]:
        """Names of the people who get a key."""
        return tuple(change.name for change in self.of("key", "create"))


KEEPERS: dict[Keeper, str] = {
    "inventory": "the inventory",
    "command": "atelier users",
    "": "no one",
}


def compare(
    wanted: Iterable[Record], found: Live, deployment: str, keeper: Keeper = "inventory"
) -> PeopleChanges:
    """What has to change.

    Args:
        wanted: what is declared.
        found: what the router has.
        deployment: name of the deployment.
        keeper: who wants it; only the inventory says what there must not be.
    """
    records = tuple(wanted)
    pairs = [(record, found.find(record.kind, record.name)) for record in records]
    foreign = [
        f"{record.kind} {record.name} belongs to deployment {there.deployment!r}"
        for record, there in pairs
        if there and there.deployment not in {"", deployment}
    ]
    kept = {id(there) for _, there in pairs}
    others = [each for each in found.records if id(each) not in kept]
    gone = list(_gone(others, deployment)) if keeper == "inventory" else []
    return PeopleChanges(
        changes=(*_differences(pairs, keeper), *(_end(record) for record in gone)),
        foreign=tuple(foreign),
        others=tuple(
            f"{record.fields['alias'] or record.id[:8]} of {record.fields['person'] or 'no one'}"
            for record in found.of("key")
            if not record.keeper and id(record) not in kept and record not in gone
        ),
    )


def _gone(others: list[LiveRecord], deployment: str) -> Iterator[LiveRecord]:
    """What was declared and is no longer; with a team or a person LiteLLM deletes their keys."""
    own = [
        record
        for record in others
        if record.keeper == "inventory" and record.deployment == deployment
    ]
    ends = {(record.kind, record.name) for record in own}
    for record in others:
        owners = {("team", record.fields.get("team")), ("person", record.fields.get("person"))}
        if record in own or (record.kind == "key" and owners & ends):
            yield record


def _differences(
    pairs: Iterable[tuple[Record, LiveRecord | None]], keeper: Keeper
) -> Iterator[PersonChange]:
    for record, there in pairs:
        if there is None:
            fields = tuple(
                FieldChange(name, ABSENT, shown(value))
                for name, value in record.fields.items()
                if value not in {None, (), False} and value != record.name
            )
            yield PersonChange("create", record.kind, record.name, fields, record)
        elif fields := tuple(_drift(record, there, keeper)):
            yield PersonChange("update", record.kind, record.name, fields, record, there)


def _drift(record: Record, there: LiveRecord, keeper: Keeper) -> Iterator[FieldChange]:
    if there.keeper != keeper:
        yield FieldChange(KEPT_BY, KEEPERS[there.keeper], KEEPERS[keeper])
    for name, new in record.fields.items():
        old = there.fields.get(name)
        if old != new:
            note = f" {BY_HAND}" if _is_by_hand(name, old, there.declared) else ""
            yield FieldChange(name, f"{shown(old)}{note}", shown(new))


def _is_by_hand(name: str, old: Value, declared: Fields | None) -> bool:
    """Whether a value is not what the last deployment made it."""
    return declared is not None and declared.get(name) != old


def _end(record: LiveRecord) -> PersonChange:
    action: Action = "revoke" if record.kind == "key" else "remove"
    return PersonChange(action, record.kind, record.name, live=record)


def shown(value: Value) -> str:
    """A value as it is read."""
    if value is None or value == ():
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
