"""How what is live differs from what is wanted: pure comparison, field by field."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.changes.expected import Expected
from deploy.changes.live import Live, named

EMPTY = "(empty)"
STOPPED = {"exited", "created", "dead", "paused"}
HEALTHY = {"healthy", "starting", None}


def unit_change(
    name: str, wanted: Expected, there: Iterable[Live], *, config_is_newer: bool
) -> Change | None:
    """What has to happen to what runs of a unit; ``None`` if nothing.

    Args:
        name: name of the unit.
        wanted: how it is to be.
        there: what runs of it, what an interrupted run left, and what ends after a change.
        config_is_newer: whether the files that it reads were restored after it started.
    """
    there = tuple(other for other in there if not other.is_ending)
    resource = f"{wanted.noun} {name}"
    live = named(name, wanted.noun, there)
    moved = [_moved(other, wanted) for other in there if _has_the_place(other, name, wanted)]
    if live is None:
        if moved:
            return Change(resource, "recreate", tuple(moved))
        field, value = wanted.made_from
        return Change(resource, "create", (FieldChange(field, ABSENT, value),))
    fields = moved + drift(live, wanted)
    is_left = any(other.name == f"{name}.previous" for other in there)
    if not fields and is_left and live.health != "healthy":
        # not proven yet, and what ran before it is still there to go back to
        fields = [FieldChange("state", "left by an interrupted change", "healthy")]
    if fields:
        return Change(resource, "recreate", tuple(fields))
    needed = _mending(resource, live, config_is_newer=config_is_newer)
    if needed is None and len(there) > 1:
        return Change(resource, "clean up after an interrupted change of")
    return needed


def _mending(resource: str, live: Live, *, config_is_newer: bool) -> Change | None:
    """What has to happen to one that is as wanted, and does not run so."""
    if live.state in STOPPED:
        return Change(resource, "start", (FieldChange("state", live.state, "running"),))
    if live.health not in HEALTHY or live.state == "restarting":
        found = str(live.health) if live.state == "running" else live.state
        if live.health_said:
            found = f"{found}: {live.health_said}"
        return Change(resource, "restart", (FieldChange("health", found, "healthy"),))
    if not live.starts_with_host:
        return Change(resource, "enable", (FieldChange("start", "by hand", "with the host"),))
    if config_is_newer:
        return Change(resource, "restart", (FieldChange("configuration", "outdated", "current"),))
    return None


def _has_the_place(other: Live, name: str, wanted: Expected) -> bool:
    return other.name == name and other.noun != wanted.noun


def _moved(other: Live, wanted: Expected) -> FieldChange:
    return FieldChange("runs as", other.noun, wanted.noun)


def drift(live: Live, wanted: Expected) -> list[FieldChange]:
    """Everything about what runs that a new one is needed for."""
    declared = live.spec or {}
    return _spec_changes(declared, wanted.public) + [
        FieldChange(*_shown(fact, found, wanted.facts[fact][1]))
        for fact, found in live.facts.items()
        if fact in wanted.facts
        and found != wanted.facts[fact][1]
        and _is_declared(wanted.facts[fact][0], declared, wanted.public)
    ]


def _is_declared(field: str, declared: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a field, or all of them, are declared as wanted: then something else was changed."""
    return declared.get(field) == wanted[field] if field else declared == wanted


def _shown(fact: str, found: str, wanted: str) -> tuple[str, str, str]:
    """A fact as it is shown: of a file, no digests."""
    if fact.endswith(" file"):
        return fact, "edited" if found else ABSENT, "as written"
    return fact, found, wanted


def _spec_changes(old: dict[str, Any], new: dict[str, Any]) -> list[FieldChange]:
    """The fields in which two public descriptions differ."""
    before, after = _flatten(old), _flatten(new)
    return [
        change
        for field in sorted({*before, *after})
        if before.get(field) != after.get(field)
        for change in _field_changes(field, before.get(field), after.get(field))
    ]


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted names; sequences of plain values stay whole."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {f"[{index}]": item for index, item in enumerate(value)}
    if value == []:
        return {}
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for name, item in value.items():
        dot = "." if path and not name.startswith("[") else ""
        flat |= _flatten(item, f"{path}{dot}{name}")
    return flat


def _field_changes(field: str, old: Any, new: Any) -> list[FieldChange]:
    if isinstance(old, list) and isinstance(new, list) and old and new:
        return _sequence_changes(field, [str(item) for item in old], [str(item) for item in new])
    return [FieldChange(field, _show(old), _show(new))]


def _sequence_changes(field: str, old: list[str], new: list[str]) -> list[FieldChange]:
    """The parts of two argument lists that differ, each with the flag before it."""
    changes = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            flag = i1 > 0 and tag == "replace" and old[i1 - 1].startswith("--")
            start = 1 if flag else 0
            before, after = old[i1 - start : i2], new[j1 - start : j2]
            changes.append(
                FieldChange(field, shlex.join(before) or ABSENT, shlex.join(after) or ABSENT)
            )
    return changes


def _show(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, list):
        return shlex.join(str(item) for item in value)
    return str(value) or EMPTY
