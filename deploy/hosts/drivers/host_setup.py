"""What is done to a host, step by step, and how it is said."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.hosts.drivers.amd_choice import AmdChoice
from deploy.hosts.drivers.choice import Choice
from deploy.hosts.drivers.state import DriverState

NVIDIA_DRIVER, AMD_DRIVER = "NVIDIA driver", "AMD driver"
"""What a change is about that installs packages of a driver."""
DRIVERS = frozenset({NVIDIA_DRIVER, AMD_DRIVER})


@dataclass(frozen=True)
class Step:
    """One call of the script on the host."""

    arguments: tuple[str, ...]
    stdin: str = ""
    progress: str = ""
    """What is said while it goes on."""


@dataclass(frozen=True)
class HostSetup:
    """What is to be done, all of it empty where nothing is."""

    changes: tuple[Change, ...] = ()
    """In words."""
    steps: tuple[Step, ...] = ()
    """In the order in which it is done; each can be repeated after it was interrupted."""
    reboot: str = ""
    """Why the host must be restarted before its driver works; empty if it need not."""
    choice: Choice | None = None
    """NVIDIA's driver that it should have; ``None`` where it is left alone."""
    amd: AmdChoice | None = None
    """AMD's driver that it should have; ``None`` where it is left alone."""

    def and_then(self, other: HostSetup) -> HostSetup:
        """Both, one after the other."""
        return HostSetup(
            (*self.changes, *other.changes),
            (*self.steps, *other.steps),
            self.reboot or other.reboot,
            self.choice or other.choice,
            self.amd or other.amd,
        )


def file_setup(wanted: dict[str, str], state: DriverState) -> HostSetup:
    """Write the files that differ."""
    differing = {path: text for path, text in wanted.items() if state.files.get(path) != text}
    if not differing:
        return HostSetup()
    changes = tuple(
        Change(f"file {path}", "update" if path in state.files else "create") for path in differing
    )
    coded = (base64.b64encode(text.encode()).decode() for text in differing.values())
    step = Step(("files", *differing), "".join(f"{line}\n" for line in coded))
    return HostSetup(changes, (step,))


def hold_setup(
    names: tuple[str, ...], state: DriverState, manager: str, *, installs: bool
) -> HostSetup:
    """Keep packages as they are, whatever else upgrades the host.

    Args:
        names: the packages.
        state: the host.
        manager: its package manager.
        installs: whether they were installed just before: apt lets go of what it installs.
    """
    free = [name for name in names if name not in state.holds]
    fields = tuple(FieldChange("hold", ABSENT, name) for name in free)
    change = Change("packages that only Atelier upgrades", "hold", fields)
    held = names if installs else free
    return HostSetup((change,) if free else (), (Step(("hold", manager, *held)),) if held else ())


def unit_setup(units: tuple[str, ...], state: DriverState, *, start: bool) -> HostSetup:
    """Enable units, and start them if they can work."""
    wrong = [unit for unit in units if not _is_as_it_should(state.services.get(unit, ""), start)]
    if not wrong:
        return HostSetup()
    changes = tuple(
        Change(
            f"unit {unit}.service",
            "enable and start" if start else "enable",
            (FieldChange("state", state.services.get(unit, ABSENT), "active"),) if start else (),
        )
        for unit in wrong
    )
    return HostSetup(changes, (Step(("units", "start" if start else "enable", *wrong)),))


def _is_as_it_should(found: str, start: bool) -> bool:
    enabled, _, active = found.partition(" ")
    return enabled not in {"", "disabled", "masked"} and (active == "active" or not start)
