"""What has to happen to the units of a host, worked out from what was seen there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deploy.artefacts import Artefacts
from deploy.changes.change import Change, FieldChange
from deploy.changes.drift import unit_change
from deploy.changes.expected import expected
from deploy.changes.live import Live, base_name, by_unit, held, named
from deploy.changes.order import Group, Pending, form_groups
from deploy.facts.model_store import ModelStore
from deploy.facts.units import UnitsState
from deploy.operations import file_tree, ollama_model
from deploy.services import ConfigTree, StoredModel, Tier, Unit
from deploy.services.engines import SERVICES as ENGINES

INTERRUPTS = {"recreate", "restart"}
"""What takes something away that serves."""
STARTS_ANEW = {"create", "recreate", "start", "restart"}


@dataclass(frozen=True)
class UnitChange:
    """One unit that changes."""

    unit: Unit
    runs: Change | None
    """What happens to what runs."""
    models: tuple[tuple[StoredModel, Change], ...]
    """What happens to models in its store."""
    outdated: ConfigTree | None
    """The files to write, if they are not there."""
    release_in_use: str | None
    """The directory of the files that what runs has."""
    is_there: bool = True
    """Whether something of it is there already."""

    @property
    def starts_anew(self) -> bool:
        """Whether what runs starts, again or for the first time."""
        return self.runs is not None and self.runs.action in STARTS_ANEW


@dataclass(frozen=True)
class HostChanges:
    """Everything that changes on a host, and what changes together."""

    units: Mapping[str, UnitChange]
    """By the unit's name."""
    groups: tuple[Group, ...]
    orphans: Mapping[str, tuple[Live, ...]]
    """What is live of each unit that is no longer wanted, by the unit's name."""
    models: Mapping[str, tuple[str, ...]]
    """Models that Atelier made in the stores of those, by the unit's name."""

    def of(self, tier: Tier, *, rolling: bool | None) -> tuple[Group, ...]:
        """The groups that change with a tier: those that wait for a turn, the others, or all."""
        return tuple(
            group for group in self.groups if group.tier == tier and rolling in (None, group.rolls)
        )

    def made_in(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Models that Atelier made in the stores of those of some units that go."""
        return {name: self.models[name] for name in names if name in self.models}

    @property
    def swapped_orphans(self) -> frozenset[str]:
        """Orphans that make room for another unit, and go with it."""
        return frozenset(
            member.name
            for group in self.groups
            for member in group.members
            if member.action == "remove"
        )


def host_changes(
    artefacts: Artefacts, host: str, found: UnitsState, restarting: Collection[str] = ()
) -> HostChanges:
    """What has to happen on a host.

    Args:
        artefacts: the deployment.
        host: name of the host.
        found: what was seen there.
        restarting: units that start again because others of their replica change.
    """
    units = artefacts.stack.on(host)
    there = by_unit(found.everything)
    changes = {
        change.unit.name: change
        for unit in units
        if (
            change := _with_its_replica(
                _unit_change(unit, artefacts, found, there.get(unit.name, ())), unit, restarting
            )
        )
    }
    orphans = {
        name: own
        for name, own in there.items()
        if name not in {unit.name for unit in units} and own[0].deployment == artefacts.plan.name
    }
    pending = [
        *(_pending(change, artefacts, there) for change in changes.values()),
        *(_orphan(name, own) for name, own in orphans.items()),
    ]
    standing = [unit.holds for unit in units if unit.name not in changes]
    groups = form_groups(pending, standing, found.memory_bytes)
    return HostChanges(
        changes, tuple(_without_lone_orphans(groups)), orphans, _made_in(orphans, found)
    )


def _made_in(names: Collection[str], found: UnitsState) -> dict[str, tuple[str, ...]]:
    """Models that Atelier made in what is no longer wanted."""
    made: dict[str, tuple[str, ...]] = {}
    for container, model in sorted(found.other_models):
        name = base_name(container)
        if name in names and model not in made.get(name, ()):
            made[name] = (*made.get(name, ()), model)
    return made


def _with_its_replica(
    own: UnitChange | None, unit: Unit, restarting: Collection[str]
) -> UnitChange | None:
    """What happens to a unit, also where others of its replica change."""
    if unit.name not in restarting or (own and own.starts_anew):
        return own
    why = FieldChange("replica", "changes on another host", "whole")
    restart = Change(f"{unit.runs.noun} {unit.name}", "restart", (why,))
    if own:
        return replace(own, runs=restart)
    return UnitChange(unit, restart, (), None, None)


def _without_lone_orphans(groups: tuple[Group, ...]) -> Iterator[Group]:
    """What no one waits for goes last, when everything else runs."""
    for group in groups:
        if any(member.action != "remove" for member in group.members):
            yield group


def _pending(
    change: UnitChange, artefacts: Artefacts, there: Mapping[str, tuple[Live, ...]]
) -> Pending:
    unit = change.unit
    action = change.runs.action if change.runs else "keep"
    live = there.get(unit.name, ())
    return Pending(
        name=unit.name,
        tier=unit.tier,
        action=action,
        serves=unit.serves,
        needs=unit.needs,
        rolls=action in INTERRUPTS and artefacts.stack.stands_in(unit),
        is_engine=unit.runs.service in ENGINES,
        old=held(live),
        new=unit.holds,
    )


def _orphan(name: str, own: tuple[Live, ...]) -> Pending:
    """It goes first of its group."""
    is_engine = any(live.service in ENGINES for live in own)
    return Pending(name, Tier.STORE, "remove", is_engine=is_engine, old=held(own))


def _unit_change(
    unit: Unit, artefacts: Artefacts, found: UnitsState, there: tuple[Live, ...]
) -> UnitChange | None:
    """What happens to one unit; ``None`` if nothing."""
    tree, secrets = unit.config, artefacts.secrets
    live = named(unit.name, unit.runs.noun, there)
    written = tree is None or file_tree.is_written(tree, found.releases, secrets)
    outdated = None if written else tree
    change = unit_change(
        unit.name,
        expected(unit, artefacts.plan.name, _image_id(unit, artefacts, found), secrets),
        there,
        config_is_newer=_config_is_newer(found, live, tree, outdated),
    )
    models = tuple(_model_changes(unit, found, restarts=change is not None))
    if not (change or models or outdated):
        return None
    in_use = _release_in_use(tree, live)
    return UnitChange(unit, change, models, outdated, in_use, is_there=live is not None)


def _model_changes(
    unit: Unit, found: UnitsState, *, restarts: bool
) -> Iterator[tuple[StoredModel, Change]]:
    store = found.stores.get(unit.name, ModelStore())
    for model in unit.models:
        change = ollama_model.model_change(unit.name, model, store, restarts=restarts)
        if change:
            yield model, change


def _image_id(unit: Unit, artefacts: Artefacts, found: UnitsState) -> str | None:
    """Id of the image that it runs in, if it needs one and the host has it."""
    use = artefacts.images.get(unit.image_name or "")
    return found.image_id(use.image.reference) if use else None


def _config_is_newer(
    found: UnitsState,
    live: Live | None,
    tree: ConfigTree | None,
    outdated: ConfigTree | None,
) -> bool:
    """Whether the files that something reads are, or are about to be, newer than its start."""
    if live is None or tree is None or tree.watch:
        return False
    repaired = outdated is not None and str(outdated.directory) in found.releases
    return repaired or found.changed_at.get(str(tree.directory), 0) > live.started_at


def _release_in_use(tree: ConfigTree | None, live: Live | None) -> str | None:
    """The configuration release that the running container mounts."""
    if not (live and live.spec and tree):
        return None
    sources = [PurePosixPath(mount["source"]) for mount in live.spec.get("mounts", {}).values()]
    return next((str(source) for source in sources if source.parent == tree.root), None)
