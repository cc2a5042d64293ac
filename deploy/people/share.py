"""How every router comes to have everybody, with one key for all of them.

Aristote keeps keys in clear in its table, LiteLLM keeps their hashes: what Aristote has can be
given to LiteLLM, and not the other way. Both call a key by its SHA-256, so that it is seen whether
they have the same: ``hash_token`` in litellm/proxy/utils.py of LiteLLM 1.106.2.

A router that was left out for a while, and comes back, has what was true then: the key that was
made later is the good one, and who is gone from the other router is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from deploy.changes.change import ABSENT, FieldChange
from deploy.people.both import ORDER, Found, is_good, of_router
from deploy.people.compare import Action, PeopleChanges, PersonChange, compare
from deploy.people.kept import Kept, find_kept
from deploy.people.records import Live, LiveRecord, Record
from deploy.people.requests import Request, Requests
from deploy.spec.router import RouterKind

Keys = Mapping[str, LiveRecord]
"""Keys of a router, by person."""
OF_ARISTOTE, NEW, OTHER = "Aristote's", "a new one", "another one"


@dataclass(frozen=True)
class RouterChanges:
    """What changes in one router."""

    declared: PeopleChanges
    """Of those whom the inventory declares."""
    kept: PeopleChanges = field(default_factory=PeopleChanges)
    """Of those whom ``atelier users`` added."""
    after: PeopleChanges = field(default_factory=PeopleChanges)
    """Of the same, when the other router has them: that it does."""

    @property
    def all(self) -> tuple[PersonChange, ...]:
        """Everything that changes."""
        return tuple(c for part in (self.declared, self.kept, self.after) for c in part.changes)


@dataclass(frozen=True)
class Shared:
    """What changes in every router, and where keys come from."""

    routers: Mapping[RouterKind, RouterChanges]
    """In the order in which they are changed."""
    new_keys: tuple[str, ...] = ()
    """Names of the people who get a new key, which every router is given."""
    copied: Keys = field(default_factory=dict)
    """Keys that LiteLLM gets from Aristote."""

    @property
    def foreign(self) -> tuple[str, ...]:
        """What belongs to another deployment, and is in the way."""
        found = [
            each
            for own in self.routers.values()
            for part in (own.declared, own.kept)
            for each in part.foreign
        ]
        return tuple(dict.fromkeys(found))

    @property
    def changes_something(self) -> bool:
        """Whether anything is not as it is to be."""
        return any(own.all for own in self.routers.values())

    def steps(
        self, deployment: str, keys: Mapping[str, str], made: str
    ) -> list[tuple[RouterKind, list[Request]]]:
        """The requests that carry everything out, in an order that works wherever it stops.

        Args:
            deployment: name of the deployment.
            keys: values of new keys, by person.
            made: when they are made, in ISO 8601 and UTC.
        """
        late = frozenset(c.name for own in self.routers.values() for c in own.after.changes)
        steps = []
        for kind, own in self.routers.items():
            base = Requests(deployment, "inventory", keys, made=made)
            if kind == "litellm":
                base = replace(base, copied=self.copied)
            known = frozenset(each.name for each in own.kept.changes if each.kind == "key")
            # Aristote learns last of those whom LiteLLM has not yet
            shared = known if kind == "litellm" else known - late
            kept = replace(base, keeper="command", shared=shared).of(own.kept)
            steps.append((kind, [*base.of(own.declared), *kept]))
        noted = Requests(deployment, "command", made=made, shared=late)
        steps += [(kind, noted.of(own.after)) for kind, own in self.routers.items()]
        return [(kind, requests) for kind, requests in steps if requests]


def share(wanted: Iterable[Record], found: Found, deployment: str, today: date) -> Shared:
    """What has to change so that each router has everybody.

    Args:
        wanted: what is declared.
        found: what each router has.
        deployment: name of the deployment.
        today: the day in UTC.
    """
    records = tuple(wanted)
    declared = {
        kind: compare(of_router(kind, records), live, deployment) for kind, live in found.items()
    }
    if len(found) == 1:
        [(kind, changes)] = declared.items()
        return Shared({kind: RouterChanges(changes)}, changes.new_keys)
    left = {kind: _without(live, declared[kind]) for kind, live in found.items()}
    kept = find_kept(records, left, deployment, today, ended=_ended(declared.values()))
    names = [record.name for record in (*records, *kept.records) if record.kind == "key"]
    aristote, litellm = (_keys(names, left[kind]) for kind in ORDER)
    good = {name: key for name, key in aristote.items() if is_good(key, litellm.get(name))}
    same = {name for name in good if name in litellm and litellm[name].id == good[name].id}
    lost = dict.fromkeys((name for name in names if name not in good), NEW)
    others = {name: lost.get(name, OF_ARISTOTE) for name in names if name not in same}
    routers = {}
    for kind, ends in zip(ORDER, (lost, others), strict=True):
        live = left[kind]
        ours, theirs = (of_router(kind, each) for each in (records, kept.within(live)))
        own = _of_kept(kept, theirs, live, deployment)
        routers[kind] = RouterChanges(
            _with_other_keys(declared[kind], ours, live, ends),
            _with_other_keys(own, theirs, live, ends),
        )
    after = _noted_after(kept, left["aristote"], good, litellm)
    routers["aristote"] = replace(routers["aristote"], after=after)
    copied = {name: key for name, key in good.items() if name not in same}
    return Shared(routers, tuple(lost), copied)


def _without(live: Live, changes: PeopleChanges) -> Live:
    """What a router has when those are gone who are no longer declared, and their teams."""
    ends = {id(each.live) for each in changes.changes if each.action in {"revoke", "remove"}}
    teams = {each.name for each in changes.of("team", "remove")}
    return Live(tuple(_out_of(teams, record) for record in live.records if id(record) not in ends))


def _out_of(teams: set[str], record: LiveRecord) -> LiveRecord:
    there = record.fields.get("teams")
    if not isinstance(there, tuple) or not teams.intersection(there):
        return record
    own = tuple(each for each in there if each not in teams)
    return replace(record, fields={**record.fields, "teams": own})


def _ended(declared: Iterable[PeopleChanges]) -> frozenset[str]:
    """Whose key goes from a router because it, or its team, is no longer declared."""
    return frozenset(each.name for own in declared for each in own.of("key", "revoke"))


def _keys(names: Iterable[str], live: Live) -> dict[str, LiveRecord]:
    found = {name: live.find("key", name) for name in names}
    return {name: key for name, key in found.items() if key}


def _of_kept(kept: Kept, records: list[Record], live: Live, deployment: str) -> PeopleChanges:
    """What changes in one router of those whom ``atelier users`` added.

    Args:
        kept: who that is.
        records: what the router is to have of them.
        live: what it has.
        deployment: name of the deployment.
    """
    usual = compare(records, live, deployment, "command")
    changed = {(each.kind, each.name) for each in usual.changes}
    noted = [
        _noted(record, there)
        for record in records
        if (there := live.find(record.kind, record.name))
        and record.name in kept.in_both
        and not there.shared
        and record.kind == "key"
        and ("key", record.name) not in changed
    ]
    return replace(usual, changes=(*usual.changes, *noted, *kept.ends(live)), others=())


def _noted(record: Record, there: LiveRecord) -> PersonChange:
    """It is written down that both routers have a key."""
    fields = (FieldChange("in both routers", "no", "yes"),)
    return PersonChange("update", "key", record.name, fields, record, there)


def _noted_after(kept: Kept, live: Live, aristote: Keys, litellm: Keys) -> PeopleChanges:
    """What is noted of Aristote's keys when LiteLLM has them.

    Before that they would be taken for such as were removed from LiteLLM.
    """
    late = aristote.keys() - litellm.keys()
    return PeopleChanges(
        tuple(
            _noted(record, aristote[record.name])
            for record in of_router("aristote", kept.within(live))
            if record.kind == "key" and record.name in late
        )
    )


def _with_other_keys(
    changes: PeopleChanges, wanted: Iterable[Record], live: Live, ends: Mapping[str, str]
) -> PeopleChanges:
    """The same with keys that come from Aristote, and with those that give way to others.

    Args:
        changes: what changes otherwise.
        wanted: what the router is to have.
        live: what it has.
        ends: by person, which key they get.
    """
    usual = {each.name: each for each in changes.of("key", "create", "update")}
    made = []
    for record in wanted:
        if record.kind == "key" and record.name in ends:
            there, before = live.find("key", record.name), usual.get(record.name)
            value = FieldChange("key", OTHER if there else ABSENT, ends[record.name])
            action: Action = "replace" if there else "create"
            fields = (value, *(before.fields if before else ()))
            made.append(PersonChange(action, "key", record.name, fields, record, there))
    gone = [each for name, each in usual.items() if name in ends]
    return replace(changes, changes=(*(c for c in changes.changes if c not in gone), *made))
