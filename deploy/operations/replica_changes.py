"""Replicas on several hosts: when one of their units changes, all of them start again, as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.changes.live import by_unit
from deploy.facts import look
from deploy.facts.units import Units, UnitsState
from deploy.operations.everywhere import ask_everywhere
from deploy.operations.questions import units_question
from deploy.operations.unit_changes import HostChanges, UnitChange, host_changes
from deploy.services import Unit


@dataclass(frozen=True)
class Part:
    """What happens on one host of a replica that changes."""

    unit: Unit
    """The replica's unit there."""
    names: tuple[str, ...]
    """Of this unit, and of what must make room for it or changes with it."""
    gone: frozenset[str]
    """Those that no one wants any more."""
    new: frozenset[str]
    """Those that nothing was there of before."""
    has_former: bool
    """Whether another one of the unit runs before, which can come back."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models in the stores of those that no one wants any more, which go with them."""

    @property
    def runs(self) -> tuple[str, ...]:
        """Those that run afterwards."""
        return tuple(name for name in self.names if name not in self.gone)


@dataclass(frozen=True)
class ReplicaChanges:
    """The replicas on several hosts that change, as it was decided once in a run."""

    restarting: frozenset[str] = frozenset()
    """Units that start again, as they are, because others of their replica change."""
    replicas: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    """What happens on each host, by replica; the one that is asked comes first.

    Those that have a host which this run does not go to are not among them.
    """

    def part(self, name: str, host: str) -> Part | None:
        """What happens to a unit on a host, if it belongs to a replica that changes.

        Of a replica that moves, an old unit on one host is called as a new one on another.
        """
        parts = (part for parts in self.replicas.values() for part in parts)
        return next((p for p in parts if (p.unit.name, p.unit.host) == (name, host)), None)


def decide(artefacts: Artefacts) -> ReplicaChanges:
    """What changes, for all hosts: what is seen later has been changed by then."""
    if not any(unit.replica for unit in artefacts.stack.units):
        return ReplicaChanges()
    return decide_for(artefacts, dict(ask_everywhere(_Seen(artefacts))))


def decide_for(artefacts: Artefacts, seen: Mapping[str, UnitsState]) -> ReplicaChanges:
    """What changes.

    Args:
        artefacts: the deployment.
        seen: what was seen on each host that the run goes to, by its name.
    """
    wide = [unit for unit in artefacts.stack.units if unit.replica]
    changing = {
        name
        for host_name, found in seen.items()
        for name, each in host_changes(artefacts, host_name, found).units.items()
        if each.starts_anew
    }
    restarting = with_them(wide, changing)
    after = {
        host_name: host_changes(artefacts, host_name, found, restarting)
        for host_name, found in seen.items()
    }
    replicas = {}
    for name in sorted({unit.replica for unit in wide if unit.name in changing}):
        units = sorted((u for u in wide if u.replica == name), key=lambda u: u.name != name)
        if all(unit.host in seen for unit in units):
            replicas[name] = tuple(_part(unit, after[unit.host], seen[unit.host]) for unit in units)
    return ReplicaChanges(restarting, replicas)


def with_them(units: Collection[Unit], changing: Collection[str]) -> frozenset[str]:
    """Units that do not change themselves, but with others of their replica.

    Args:
        units: those that are parts of replicas on several hosts.
        changing: names of all units that change.
    """
    replicas = {unit.replica for unit in units if unit.name in changing}
    return frozenset(
        unit.name for unit in units if unit.replica in replicas and unit.name not in changing
    )


def _part(unit: Unit, changes: HostChanges, found: UnitsState) -> Part:
    own, there = changes.units[unit.name], by_unit(found.everything)
    members = next(
        group.members for group in changes.groups if unit.name in {m.name for m in group.members}
    )
    # what was only created never ran
    former = {
        name for name, live in there.items() if {each.name for each in live} - {f"{name}.next"}
    }
    names = tuple(member.name for member in members)
    return Part(
        unit,
        names=names,
        gone=frozenset(member.name for member in members if member.action == "remove"),
        new=frozenset(names) - former,
        has_former=unit.name in former and is_made_anew(own, alone=len(members) == 1),
        models=changes.made_in(names),
    )


def is_made_anew(change: UnitChange, *, alone: bool) -> bool:
    """Whether a unit is created again, and not only started; what changes with others always is."""
    return change.runs is not None and (not alone or change.runs.action in {"create", "recreate"})


class _Seen:
    """The current host's name, and what was seen of its units; one question in a run."""

    def __init__(self, artefacts: Artefacts) -> None:
        self._artefacts = artefacts

    def __call__(self) -> tuple[str, UnitsState]:
        """Both."""
        return host.name, look.ask(Units, **units_question(self._artefacts, host.name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Seen)

    def __hash__(self) -> int:
        return hash(_Seen)
