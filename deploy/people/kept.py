"""People whom ``atelier users`` added to one of two routers, or took away from one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from deploy.people.both import Found, merge
from deploy.people.compare import PersonChange
from deploy.people.records import Live, LiveRecord, Record, end_of


@dataclass(frozen=True)
class Kept:
    """Who is to be in both routers, and who in none."""

    records: tuple[Record, ...]
    """People and their keys."""
    in_both: frozenset[str]
    """Of whom both routers have a key."""
    gone: frozenset[str]
    """Of whom one router has a key that the other one had, too: there they were removed."""
    teams: frozenset[str]
    """Teams that are declared."""

    def within(self, live: Live) -> list[Record]:
        """The records for one router, in teams that it has or gets."""
        teams = self.teams | {each.name for each in live.of("team")}
        return [_within(teams, record) for record in self.records]

    def ends(self, live: Live) -> Iterator[PersonChange]:
        """What goes from one router."""
        for record in live.records:
            if record.name in self.gone and record.keeper == "command":
                if record.kind == "key":
                    yield PersonChange("revoke", "key", record.name, live=record)
                elif record.kind == "person":
                    yield PersonChange("remove", "person", record.name, live=record)


def find_kept(
    declared: tuple[Record, ...],
    found: Found,
    deployment: str,
    today: date,
    *,
    ended: frozenset[str],
) -> Kept:
    """Who is kept by ``atelier users`` in one router or in both.

    Args:
        declared: what the inventory declares.
        found: what each router has when those are gone who are no longer declared.
        deployment: name of the deployment.
        today: the day in UTC.
        ended: whose key goes from one router with those; where the other one has a key of theirs,
            that was made anew.
    """
    known = {record.name for record in declared if record.kind == "key"}
    everybody = merge(found)
    own = {
        key.name: key
        for key in (everybody.find("key", each.name) for each in everybody.of("key"))
        if key and key.keeper == "command" and key.deployment == deployment
    }
    lives = {name: _lives(found, name) for name in own if name not in known}
    in_both = frozenset(name for name, keys in lives.items() if len(keys) == len(found))
    gone = frozenset(
        name for name, keys in lives.items() if name not in in_both | ended and keys[0].shared
    )
    return Kept(
        records=tuple(_records(everybody, own, [n for n in lives if n not in gone], today)),
        in_both=in_both,
        gone=gone,
        teams=frozenset(each.name for each in declared if each.kind == "team"),
    )


def _lives(found: Found, name: str) -> list[LiveRecord]:
    keys = (live.find("key", name) for live in found.values())
    return [key for key in keys if key]


def _records(
    everybody: Live, keys: Mapping[str, LiveRecord], names: list[str], today: date
) -> Iterator[Record]:
    for name in names:
        if person := everybody.find("person", name):
            yield Record("person", name, person.fields)
    for name in names:
        yield _key(keys[name], today)


def _key(record: Record, today: date) -> Record:
    """A key under the name of its person, also where a command was stopped that replaced it.

    One that has ended is refused by both routers: Aristote does not see the end.
    """
    expires, start = record.fields["expires"], datetime.combine(today, datetime.min.time(), UTC)
    has_ended = expires is not None and end_of(str(expires)) <= start
    disabled = bool(record.fields["disabled"]) or has_ended
    return Record("key", record.name, {**record.fields, "alias": record.name, "disabled": disabled})


def _within(teams: set[str] | frozenset[str], record: Record) -> Record:
    """Somebody in teams that there are."""
    own = dict(record.fields)
    if record.kind == "key" and own["team"] not in teams:
        own["team"] = None
    if record.kind == "person" and isinstance(there := own["teams"], tuple):
        own["teams"] = tuple(each for each in there if each in teams)
    return Record(record.kind, record.name, own)
