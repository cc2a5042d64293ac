"""Docker's daemon.json: Atelier's settings in it, and the operator's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from deploy.changes.change import ABSENT, FieldChange
from deploy.errors import HostError, Problem
from deploy.hosts.cdi import must_be_switched_on
from deploy.hosts.state import DockerState
from deploy.spec import HostSpec

DAEMON_JSON = "/etc/docker/daemon.json"
LOG_ROTATION = {"log-driver": "json-file", "log-opts": {"max-size": "50m", "max-file": "3"}}
CGROUPFS = "native.cgroupdriver=cgroupfs"
"""With the cgroup driver systemd, a reload of systemd takes the GPU away from containers."""


def wanted_settings(
    host: HostSpec, found: DockerState, *, cgroupfs: bool = False, cdi: bool = False
) -> dict[str, Any]:
    """What daemon.json should hold, whatever else is in it.

    Args:
        host: the host as declared.
        found: what it is like.
        cgroupfs: whether a container would lose its GPU under the cgroup driver systemd.
        cdi: whether a container is given GPUs by name.
    """
    old = read_daemon_json(found.daemon_json)
    settings: dict[str, Any] = {}
    if old.get("log-driver", "json-file") == "json-file":
        # another driver has options of its own, and the operator's reasons
        settings |= LOG_ROTATION
    if not found.is_swarm:
        # dockerd refuses to start with both
        settings["live-restore"] = True
    if cgroupfs:
        settings["exec-opts"] = [CGROUPFS]
    if cdi and must_be_switched_on(found, old):
        settings["features"] = {"cdi": True}
    return merge(settings, host.docker_settings)


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old settings with the new ones over them, mapping by mapping, option by option."""
    return old | {key: _merge_value(key, old.get(key), value) for key, value in new.items()}


def _merge_value(key: str, old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return merge(old, new)
    if key == "exec-opts" and isinstance(old, list) and isinstance(new, list):
        names = {str(option).partition("=")[0] for option in new}
        return [*(option for option in old if str(option).partition("=")[0] not in names), *new]
    return new


def differing(old: dict[str, Any], new: dict[str, Any]) -> Iterator[FieldChange]:
    """A line for each setting that differs."""
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(after, dict) and (before is None or isinstance(before, dict)):
            for change in differing(before or {}, after):
                yield FieldChange(f"{key}.{change.field}", change.old, change.new)
        else:
            yield FieldChange(key, _show(before), _show(after))


def _show(value: Any) -> str:
    return ABSENT if value is None else value if isinstance(value, str) else json.dumps(value)


def read_daemon_json(text: str | None, path: str = DAEMON_JSON) -> dict[str, Any]:
    """The settings in a daemon.json.

    Raises:
        HostError: if it is not a JSON object; Docker would refuse it as well.
    """
    if text is None or not text.strip():
        return {}
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise HostError(
            Problem(where, f"not JSON: {error.msg}", fix="correct the file on the host")
        ) from None
    if not isinstance(settings, dict):
        raise HostError(
            Problem(path, f"a {type(settings).__name__}", "a JSON object", "correct it on the host")
        )
    return settings
