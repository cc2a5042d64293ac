"""How a live container differs from the wanted one: pure comparison, field by field."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.changes.live import LiveContainer

EMPTY = "(empty)"
STOPPED = {"exited", "created", "dead", "paused"}
HEALTHY = {"healthy", "starting", None}


def container_change(
    name: str,
    wanted: dict[str, Any],
    containers: Mapping[str, LiveContainer],
    image_id: str | None,
    *,
    config_is_newer: bool,
) -> Change | None:
    """What has to happen to a container; ``None`` if nothing.

    Args:
        name: name of the container.
        wanted: its public description.
        containers: the container and what an interrupted run left of it, by name.
        image_id: id of the wanted image, if the host has it.
        config_is_newer: whether the files that it mounts were restored after it started.
    """
    resource = f"container {name}"
    live = containers.get(name)
    if live is None:
        return Change(resource, "create", (FieldChange("image", ABSENT, wanted["image"]),))
    fields = container_drift(live, wanted, image_id)
    if not fields and f"{name}.previous" in containers and live.health != "healthy":
        # not proven yet, and what ran before it is still there to go back to
        fields = [FieldChange("state", "left by an interrupted change", "healthy")]
    if fields:
        return Change(resource, "recreate", tuple(fields))
    if live.state in STOPPED:
        return Change(resource, "start", (FieldChange("state", live.state, "running"),))
    if live.health not in HEALTHY or live.state == "restarting":
        found = str(live.health) if live.state == "running" else live.state
        return Change(resource, "restart", (FieldChange("health", found, "healthy"),))
    if config_is_newer:
        return Change(resource, "restart", (FieldChange("configuration", "outdated", "current"),))
    if len(containers) > 1:
        return Change(resource, "clean up after an interrupted change of")
    return None


def container_drift(
    live: LiveContainer, wanted: dict[str, Any], image_id: str | None
) -> list[FieldChange]:
    """Everything about a container that a new one is needed for."""
    declared = live.spec or {}
    return _spec_changes(declared, wanted) + [
        change
        for field, change in _live_changes(live, wanted, image_id)
        if declared.get(field) == wanted[field]
    ]


def _spec_changes(old: dict[str, Any], new: dict[str, Any]) -> list[FieldChange]:
    """The fields in which two public descriptions differ."""
    before, after = _flatten(old), _flatten(new)
    return [
        change
        for field in sorted({*before, *after})
        if before.get(field) != after.get(field)
        for change in _field_changes(field, before.get(field), after.get(field))
    ]


def _live_changes(
    live: LiveContainer, wanted: dict[str, Any], image_id: str | None
) -> Iterator[tuple[str, FieldChange]]:
    """What was changed behind the label, with the name of the declared field that it belongs to."""
    pairs = [
        ("image", "live image id", live.image_id, image_id or "(to be fetched)"),
        ("memory_bytes", "live memory_bytes", live.memory_bytes, wanted["memory_bytes"]),
        ("restart", "live restart", live.restart, wanted["restart"]),
        ("network", "live networks", ", ".join(live.networks) or ABSENT, wanted["network"]),
    ]
    for declared, field, old, new in pairs:
        if old != new:
            yield declared, FieldChange(field, str(old), str(new))


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
