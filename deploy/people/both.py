"""People of two routers: what each is to have, and how both come to the same key.

Aristote keeps keys in clear in its table, LiteLLM keeps their hashes: what Aristote has can be
given to LiteLLM, and not the other way. Both call a key by its SHA-256, so that it is seen whether
they have the same: https://docs.litellm.ai/docs/proxy/virtual_keys, ``hash_token`` in
litellm/proxy/utils.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from deploy.changes.change import ABSENT, FieldChange
from deploy.people.compare import Action, PeopleChanges, PersonChange, compare
from deploy.people.records import Fields, Kind, Live, LiveRecord, Record, end_of
from deploy.people.requests import Request, Requests
from deploy.plan.people import ARISTOTE_LACKS
from deploy.spec.router import RouterKind

Found = Mapping[RouterKind, Live]
"""What each router has."""
ORDER: tuple[RouterKind, ...] = ("aristote", "litellm")
"""In which they are changed: what a run that is killed leaves out is taken from Aristote."""
OF_ARISTOTE, NEW, OTHER = "Aristote's", "a new one", "another one"


@dataclass(frozen=True)
class RouterChanges:
    """What changes in one router."""

    declared: PeopleChanges
    """Of those whom the inventory declares."""
    kept: PeopleChanges = field(default_factory=PeopleChanges)
    """Of those whom ``atelier users`` added, and whom the other router has."""

    @property
    def foreign(self) -> tuple[str, ...]:
        """What belongs to another deployment, and is in the way."""
        return (*self.declared.foreign, *self.kept.foreign)

    @property
    def all(self) -> tuple[PersonChange, ...]:
        """Everything that changes."""
        return (*self.declared.changes, *self.kept.changes)


@dataclass(frozen=True)
class Shared:
    """What changes in every router, and where keys come from."""

    routers: Mapping[RouterKind, RouterChanges]
    """In the order in which they are changed."""
    new_keys: tuple[str, ...] = ()
    """Names of the people who get a new key, which every router is given."""
    copied: Mapping[str, str] = field(default_factory=dict)
    """Ids of the keys that LiteLLM gets from Aristote, by person."""

    @property
    def foreign(self) -> tuple[str, ...]:
        """What belongs to another deployment, and is in the way."""
        found = [each for own in self.routers.values() for each in own.foreign]
        return tuple(dict.fromkeys(found))

    @property
    def changes_something(self) -> bool:
        """Whether anything is not as it is to be."""
        return any(own.all for own in self.routers.values())

    def requests(self, kind: RouterKind, deployment: str, keys: Mapping[str, str]) -> list[Request]:
        """The requests that carry the changes of one router out.

        Args:
            kind: which router.
            deployment: name of the deployment.
            keys: values of new keys, by person.
        """
        copied = self.copied if kind == "litellm" else {}
        own = self.routers[kind]
        return [
            *Requests(deployment, "inventory", keys, copied).of(own.declared),
            *Requests(deployment, "command", keys, copied).of(own.kept),
        ]


def share(wanted: Iterable[Record], found: Found, deployment: str, today: date) -> Shared:
    """What has to change so that each router has everybody, with one key for all routers.

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
    kept = tuple(_kept(records, found, declared, deployment, today))
    routers = {
        kind: RouterChanges(declared[kind], _of_kept(kind, records, kept, found, deployment))
        for kind in ORDER
    }
    names = [record.name for record in (*records, *kept) if record.kind == "key"]
    aristote, litellm = (_ids(names, found[kind]) for kind in ORDER)
    other = {name for name in names if litellm.get(name) != aristote.get(name)}
    ends = {name: OF_ARISTOTE if name in aristote else NEW for name in other}
    own = routers["litellm"]
    routers["litellm"] = RouterChanges(
        _with_other_keys(own.declared, records, found["litellm"], ends),
        _with_other_keys(own.kept, kept, found["litellm"], ends),
    )
    return Shared(
        routers,
        new_keys=tuple(name for name in names if name not in aristote),
        copied={name: id for name, id in aristote.items() if name in other},
    )


def _of_kept(
    kind: RouterKind,
    declared: tuple[Record, ...],
    kept: tuple[Record, ...],
    found: Found,
    deployment: str,
) -> PeopleChanges:
    """What changes in one router of those whom ``atelier users`` added."""
    teams = {each.name for each in (*declared, *found[kind].records) if each.kind == "team"}
    own = of_router(kind, [_within(teams, each) for each in kept])
    return replace(compare(own, found[kind], deployment, "command"), others=())


def of_router(kind: RouterKind, records: Iterable[Record]) -> list[Record]:
    """Records as one router can keep them: Aristote has no limits, and no key of it ends."""
    if kind == "litellm":
        return list(records)
    return [Record(each.kind, each.name, _without_limits(each.fields)) for each in records]


def merge(found: Found) -> Live:
    """Everybody, as LiteLLM has them, and those whom Aristote alone has.

    A key is disabled where one of the routers refuses it.
    """
    if len(found) == 1:
        return next(iter(found.values()))
    litellm, aristote = found["litellm"], found["aristote"]
    only_there = [each for each in aristote.records if litellm.find(each.kind, each.name) is None]
    records = [*litellm.records, *only_there]
    return Live(tuple(_refused_by_one(record, aristote) for record in records))


def lacking(found: Found, name: str) -> tuple[RouterKind, ...]:
    """The routers that do not know the key of somebody, which another one knows."""
    keys = {kind: live.find("key", name) for kind, live in found.items()}
    ids = {key.id for key in keys.values() if key}
    missing = tuple(kind for kind, key in keys.items() if key is None)
    return missing or (("litellm",) if len(ids) > 1 else ())


def _without_limits(fields: Fields) -> Fields:
    """What Aristote has a place for."""
    empty = {name: () if name == "models" else None for name in ARISTOTE_LACKS}
    return {name: empty.get(name, value) for name, value in fields.items()}


def _refused_by_one(record: LiveRecord, aristote: Live) -> LiveRecord:
    there = aristote.find(record.kind, record.name)
    if record.kind != "key" or there is None or not there.fields["disabled"]:
        return record
    return replace(record, fields={**record.fields, "disabled": True})


def _kept(
    declared: tuple[Record, ...],
    found: Found,
    changes: Mapping[RouterKind, PeopleChanges],
    deployment: str,
    today: date,
) -> Iterator[Record]:
    """People whom ``atelier users`` added, and their keys, for the router that lacks them."""
    known = {(record.kind, record.name) for record in declared}
    known |= {
        (each.kind, each.name)
        for own in changes.values()
        for each in own.changes
        if each.action in {"revoke", "remove"}
    }
    everybody = merge(found)
    kinds: tuple[Kind, ...] = ("person", "key")
    for kind, name in dict.fromkeys((each.kind, each.name) for each in everybody.records):
        record = everybody.find(kind, name)
        if record is None or kind not in kinds or (kind, name) in known:
            continue
        if record.keeper == "command" and record.deployment == deployment:
            yield _as_key(record, today) if kind == "key" else record


def _as_key(record: Record, today: date) -> Record:
    """A key under the name of its person, also where a command was stopped that replaced it.

    One that has ended is refused by both routers: Aristote does not see the end.
    """
    expires, start = record.fields["expires"], datetime.combine(today, datetime.min.time(), UTC)
    has_ended = expires is not None and end_of(str(expires)) <= start
    disabled = bool(record.fields["disabled"]) or has_ended
    return Record("key", record.name, {**record.fields, "alias": record.name, "disabled": disabled})


def _within(teams: set[str], record: Record) -> Record:
    """Somebody in teams that there are."""
    own = dict(record.fields)
    if record.kind == "key" and own["team"] not in teams:
        own["team"] = None
    if record.kind == "person":
        there = own["teams"]
        own["teams"] = (
            tuple(each for each in there if each in teams) if isinstance(there, tuple) else ()
        )
    return Record(record.kind, record.name, own)


def _ids(names: Iterable[str], live: Live) -> dict[str, str]:
    found = {name: live.find("key", name) for name in names}
    return {name: key.id for name, key in found.items() if key}


def _with_other_keys(
    changes: PeopleChanges, wanted: Iterable[Record], live: Live, ends: Mapping[str, str]
) -> PeopleChanges:
    """The same with keys that come from Aristote, and with those that give way to others.

    Args:
        changes: what changes otherwise.
        wanted: what LiteLLM is to have.
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
