"""Who has a key, in rows of plain data."""

from __future__ import annotations

from typing import Any

from deploy.people.both import Found, lacking, merge
from deploy.people.compare import KEEPERS
from deploy.people.records import KEY_LIMITS, TEAM_LIMITS, Live, LiveRecord
from deploy.plan.service_plans import TITLES
from deploy.spec.router import RouterKind


def all_rows(found: Found) -> list[dict[str, Any]]:
    """A row for every key of every router; of two routers it says which do not know the key."""
    rows = people_rows(merge(found))
    if len(found) == 1:
        return rows
    for row in rows:
        row["missing_in"] = [TITLES[kind] for kind in _lacking(found, row["name"])]
    return rows


def _lacking(found: Found, name: str) -> tuple[RouterKind, ...]:
    """Keys that were made by hand are of the router where that was done."""
    is_made_by_hand = all(
        not key.keeper for live in found.values() if (key := live.find("key", name))
    )
    return () if is_made_by_hand else lacking(found, name)


def people_rows(found: Live) -> list[dict[str, Any]]:
    """A row for every key, by name."""
    emails = {person.name: person.fields["email"] for person in found.of("person")}
    return [
        {
            "name": key.name or str(key.fields["person"] or key.id[:8]),
            "email": emails.get(str(key.fields["person"])),
            "team": key.fields["team"],
            "models": _models(key),
            "limits": _limits(key, KEY_LIMITS),
            "spend": key.spend,
            "expires": key.fields["expires"],
            "disabled": key.fields["disabled"],
            "kept_by": KEEPERS[key.keeper],
        }
        for key in sorted(found.of("key"), key=lambda key: key.name)
    ]


def team_rows(found: Live) -> list[dict[str, Any]]:
    """A row for every team, by name."""
    return [
        {
            "name": team.name,
            "models": _models(team),
            "limits": _limits(team, TEAM_LIMITS),
            "spend": team.spend,
            "kept_by": KEEPERS[team.keeper],
        }
        for team in sorted(found.of("team"), key=lambda team: team.name)
    ]


def _models(record: LiveRecord) -> list[str]:
    models = record.fields["models"]
    return list(models) if isinstance(models, tuple) else []


def _limits(record: LiveRecord, names: tuple[str, ...]) -> dict[str, Any]:
    """Those that there are."""
    return {name: record.fields[name] for name in names if record.fields[name] is not None}
