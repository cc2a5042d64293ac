"""What must be set up on a Mac for engines to serve without anybody logging in.

Sources: pmset(1), https://ss64.com/mac/pmset.html, and newsyslog(8).

``iogpu.wired_limit_mb`` is lost when a Mac restarts, so a daemon sets it. newsyslog renames a log,
and launchd and Ollama go on writing to the renamed file; so a daemon copies what is in it and
empties it, which works because launchd opens it to append.
"""

from __future__ import annotations

import plistlib
from dataclasses import dataclass
from typing import Any

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.hosts.mac.state import MacState
from deploy.scripts import read_script
from deploy.services.host_service import sha256
from deploy.services.launchd import LOGS
from deploy.spec import HostSpec

POWER = {"sleep": "0", "disksleep": "0", "autorestart": "1"}
"""A Mac that serves does not sleep, and starts again when the power comes back."""
LIMIT, ROTATION = "atelier.wired-limit", "atelier.logs"
"""Labels of the daemons that set the limit, and keep logs small."""
LABELS = (LIMIT, ROTATION)
ROTATES_SECONDS = 3600
DEFAULT = "macOS' own"


@dataclass(frozen=True)
class MacStep:
    """What is told to the script, and the change that it makes."""

    arguments: tuple[str, ...]
    change: Change


def mac_setup(spec: HostSpec, found: MacState) -> tuple[MacStep, ...]:
    """What is to be done on a Mac; nothing where it is as it should be.

    Args:
        spec: the host as declared.
        found: what it is like.
    """
    steps = [*_power(found), *_limit(spec, found)]
    wanted = daemons(spec)
    for label in LABELS:
        if label in wanted:
            steps += _daemon(label, wanted[label], found)
        elif label in found.daemons or label in found.loaded:
            steps.append(MacStep(("remove", label), Change(f"service {label}", "remove")))
    return tuple(steps)


def daemons(spec: HostSpec) -> dict[str, str]:
    """Property lists of Atelier's own daemons, by label."""
    rotate = ["/bin/sh", "-c", read_script("rotate_logs.sh"), "atelier", str(LOGS)]
    wanted = {ROTATION: _property_list(ROTATION, rotate, StartInterval=ROTATES_SECONDS)}
    if spec.wired_limit_mib is not None:
        limit = ["/usr/sbin/sysctl", f"iogpu.wired_limit_mb={spec.wired_limit_mib}"]
        wanted[LIMIT] = _property_list(LIMIT, limit)
    return wanted


def _property_list(label: str, arguments: list[str], **more: Any) -> str:
    keys = {"Label": label, "ProgramArguments": arguments, "RunAtLoad": True}
    return plistlib.dumps(keys | more).decode()


def _power(found: MacState) -> list[MacStep]:
    """Of the settings that this Mac has."""
    changes = {
        name: FieldChange(name, found.power[name], value)
        for name, value in POWER.items()
        if found.power.get(name, value) != value
    }
    if not changes:
        return []
    words = (word for name in changes for word in (name, POWER[name]))
    return [MacStep(("power", *words), Change("power settings", "update", tuple(changes.values())))]


def _limit(spec: HostSpec, found: MacState) -> list[MacStep]:
    """The limit now; one that was not set by Atelier is left alone where none is declared."""
    wanted = spec.wired_limit_mib or 0
    is_ours = LIMIT in found.daemons
    if found.wired_limit_mib == wanted or not (wanted or is_ours):
        return []
    old, new = _limit_text(found.wired_limit_mib), _limit_text(wanted)
    field = FieldChange("iogpu.wired_limit_mb", old, new)
    return [MacStep(("limit", str(wanted)), Change("memory of the GPU", "update", (field,)))]


def _limit_text(limit_mib: int | None) -> str:
    return str(limit_mib) if limit_mib else DEFAULT


def _daemon(label: str, text: str, found: MacState) -> list[MacStep]:
    digest = found.daemons.get(label)
    resource, arguments = f"service {label}", ("daemon", label, text)
    if digest is None:
        return [MacStep(arguments, Change(resource, "create"))]
    if digest != sha256(text):
        field = FieldChange("property list", "edited", "as written")
        return [MacStep(arguments, Change(resource, "recreate", (field,)))]
    if label not in found.loaded:
        return [
            MacStep(arguments, Change(resource, "start", (FieldChange("state", ABSENT, "loaded"),)))
        ]
    return []
