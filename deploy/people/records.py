"""Teams, people and keys as records of plain fields, declared and live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from deploy.plan.people_plan import PeoplePlan, PersonPlan, TeamPlan

Kind = Literal["team", "person", "key"]
Value = str | float | bool | tuple[str, ...] | None
Fields = Mapping[str, Value]
Keeper = Literal["inventory", "command", ""]
"""Who looks after a record: the inventory, ``atelier users``, or neither."""

TEAM_LIMITS = ("max_budget", "budget_duration", "tpm_limit", "rpm_limit")
KEY_LIMITS = (*TEAM_LIMITS, "max_parallel_requests")
MARK = "atelier"
"""Name of what Atelier notes in LiteLLM's metadata."""
DASHBOARD = "litellm-dashboard"
"""LiteLLM's team of logins to its own UI."""
MINUTE, UTC_TIME = "%Y-%m-%d %H:%M", " UTC"
SAME_TIME = timedelta(minutes=5)
"""LiteLLM takes a duration, so that the end of a key is off by what the request took."""


@dataclass(frozen=True)
class Record:
    """A team, a person or a key as it is declared."""

    kind: Kind
    name: str
    fields: Fields


@dataclass(frozen=True)
class LiveRecord(Record):
    """One as the router has it."""

    id: str = ""
    """What the API calls it: of a key its hash, of others the name."""
    keeper: Keeper = ""
    deployment: str = ""
    """Name of the deployment that made it; empty if none did."""
    declared: Fields | None = None
    """What was declared when it was last changed by a deployment."""
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What else the router keeps of it."""
    spend: float = 0.0
    made: str = ""
    """When a key was made, in ISO 8601 and UTC; empty if nobody wrote that down."""
    shared: bool = False
    """Whether a deployment has seen it in both of its routers."""
    fits_litellm: bool = True
    """Whether LiteLLM takes a key like it."""


@dataclass(frozen=True)
class Live:
    """What the router has."""

    records: tuple[LiveRecord, ...] = ()

    def of(self, kind: Kind) -> tuple[LiveRecord, ...]:
        """The records of a kind."""
        return tuple(record for record in self.records if record.kind == kind)

    def find(self, kind: Kind, name: str) -> LiveRecord | None:
        """A record by its name; of keys, the one whose alias is the name first."""
        named = [record for record in self.of(kind) if record.name == name]
        return min(named, key=lambda record: record.fields.get("alias") != name, default=None)


def wanted(plan: PeoplePlan, today: date) -> tuple[Record, ...]:
    """What the router is to have; keys that have expired are not wanted.

    Args:
        plan: teams and people.
        today: the day in UTC.
    """
    return (
        *(Record("team", team.name, team_fields(team)) for team in plan.teams),
        *(Record("person", person.name, person_fields(person)) for person in plan.people),
        *(
            Record("key", person.name, key_fields(person))
            for person in plan.people
            if not is_expired(person, today)
        ),
    )


def is_expired(person: PersonPlan, today: date) -> bool:
    """Whether the last day of a person's key is over."""
    return person.expires is not None and person.expires < today


def team_fields(team: TeamPlan) -> Fields:
    """A team's fields."""
    limits = {name: getattr(team, name) for name in TEAM_LIMITS}
    return {"models": team.models, **limits, "disabled": False}


def person_fields(person: PersonPlan) -> Fields:
    """A person's fields."""
    return {"email": person.email, "teams": (person.team,) if person.team else ()}


def key_fields(person: PersonPlan) -> Fields:
    """The fields of a person's key."""
    return {
        "alias": person.name,
        "person": person.name,
        "team": person.team,
        "models": person.models,
        **{name: getattr(person, name) for name in KEY_LIMITS},
        "expires": person.expires.isoformat() if person.expires else None,
        "disabled": person.disabled,
    }


def live(answers: Mapping[str, list[Mapping[str, Any]]]) -> Live:
    """The records in what LiteLLM's API answered.

    Args:
        answers: rows of ``/team/list``, ``/user/list`` and ``/key/list``, as ``teams``, ``users``
            and ``keys``.
    """
    return Live(tuple(_records(answers)))


def _records(answers: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[LiveRecord]:
    for row in answers.get("teams", []):
        limits = {name: _number(row.get(name)) for name in TEAM_LIMITS}
        yield _record("team", str(row["team_id"]), row, {**_common(row), **limits})
    for row in answers.get("users", []):
        teams = tuple(sorted(row.get("teams") or ()))
        fields: Fields = {"email": row.get("user_email"), "teams": teams}
        yield _record("person", str(row["user_id"]), row, fields)
    for row in answers.get("keys", []):
        if row.get("team_id") != DASHBOARD:
            yield _key(row)


def _key(row: Mapping[str, Any]) -> LiveRecord:
    alias = row.get("key_alias") or ""
    fields = {
        "alias": alias,
        "person": row.get("user_id"),
        "team": row.get("team_id"),
        **_common(row),
        **{name: _number(row.get(name)) for name in KEY_LIMITS},
        "expires": _day(row.get("expires")),
    }
    name = _mark(row).get("name") or alias
    return _record("key", str(name), row, fields, id=str(row["token"]))


def _record(
    kind: Kind, name: str, row: Mapping[str, Any], fields: Fields, id: str = ""
) -> LiveRecord:
    mark = _mark(row)
    keeper = mark.get("kept_by")
    return LiveRecord(
        kind=kind,
        name=name,
        fields=fields,
        id=id or name,
        keeper=keeper if keeper in {"inventory", "command"} else "",
        deployment=str(mark.get("deployment", "")),
        declared=_frozen(mark.get("declared")),
        metadata={k: v for k, v in (row.get("metadata") or {}).items() if k != MARK},
        spend=float(row.get("spend") or 0),
        made=str(mark.get("made", "")),
        shared=bool(mark.get("shared")),
        fits_litellm=bool(row.get("fits_litellm", True)),
    )


def mark(
    record: Record, deployment: str, keeper: Keeper, notes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What is noted in LiteLLM's metadata of a record; ``notes`` are those of a key alone."""
    return {
        MARK: {
            "deployment": deployment,
            "name": record.name,
            "kept_by": keeper,
            "declared": {
                k: list(v) if isinstance(v, tuple) else v for k, v in record.fields.items()
            },
            **(notes or {}),
        }
    }


def _mark(row: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (row.get("metadata") or {}).get(MARK)
    return found if isinstance(found, dict) else {}


def _frozen(fields: Any) -> Fields | None:
    if not isinstance(fields, dict):
        return None
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def _common(row: Mapping[str, Any]) -> dict[str, Value]:
    return {
        "models": tuple(sorted(row.get("models") or ())),
        "disabled": bool(row.get("blocked")),
    }


def _number(value: Any) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _day(expires: Any) -> str | None:
    """The last day of a key that ends at midnight, else when it ends."""
    if not expires:
        return None
    end = datetime.fromisoformat(str(expires))
    end = end.replace(tzinfo=UTC) if end.tzinfo is None else end.astimezone(UTC)
    midnight = datetime.combine((end + timedelta(hours=12)).date(), datetime.min.time(), UTC)
    if abs(end - midnight) <= SAME_TIME:
        return (midnight.date() - timedelta(days=1)).isoformat()
    return end.strftime(MINUTE + UTC_TIME)


def end_of(expires: str) -> datetime:
    """When a key ends, of which the last day or the time is given."""
    if expires.endswith(UTC_TIME):
        return datetime.strptime(expires, MINUTE + UTC_TIME).replace(tzinfo=UTC)
    return datetime.combine(date.fromisoformat(expires), datetime.min.time(), UTC) + timedelta(1)
