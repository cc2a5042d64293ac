"""What has to happen to the units of a host, worked out from what was seen there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.artefacts import Artefacts
from deploy.changes.change import Change
from deploy.changes.drift import container_change
from deploy.changes.live import LiveContainer, by_unit, held
from deploy.changes.order import Group, Pending, form_groups
from deploy.facts.model_store import ModelStore
from deploy.facts.units import UnitsState
from deploy.operations import file_tree, ollama_model
from deploy.services import ConfigTree, Holds, Tier, Unit

INTERRUPTS = {"recreate", "restart"}
"""What takes a container away that serves."""


@dataclass(frozen=True)
class UnitChange:
    """One unit that changes."""

    unit: Unit
    container: Change | None
    """What happens to its container."""
    model: Change | None
    """What happens to the model in its store."""
    outdated: ConfigTree | None
    """The files to write, if they are not there."""
    release_in_use: str | None
    """The directory of the files that the running container has."""


@dataclass(frozen=True)
class HostChanges:
    """Everything that changes on a host, and what changes together."""

    units: Mapping[str, UnitChange]
    """By the unit's name."""
    groups: tuple[Group, ...]
    orphans: Mapping[str, tuple[str, ...]]
    """Containers of each unit that is no longer wanted, by the unit's name."""

    def of(self, tier: Tier, *, rolling: bool) -> tuple[Group, ...]:
        """The groups that change with a tier: those that wait for their host's turn, or not."""
        return tuple(
            group for group in self.groups if group.tier == tier and group.rolls == rolling
        )

    @property
    def swapped_orphans(self) -> frozenset[str]:
        """Orphans that make room for another unit, and go with it."""
        return frozenset(
            member.name
            for group in self.groups
            for member in group.members
            if member.action == "remove"
        )


def host_changes(artefacts: Artefacts, host: str, found: UnitsState) -> HostChanges:
    """What has to happen on a host.

    Args:
        artefacts: the deployment.
        host: name of the host.
        found: what was seen there.
    """
    units = artefacts.stack.on(host)
    there = by_unit(found.containers.values())
    changes = {
        change.unit.name: change
        for unit in units
        if (change := _unit_change(unit, artefacts, found, there.get(unit.name, {})))
    }
    orphans = {
        name: tuple(containers)
        for name, containers in there.items()
        if name not in {unit.name for unit in units} and _owner(containers) == artefacts.plan.name
    }
    pending = [
        *(_pending(change, artefacts, there) for change in changes.values()),
        *(Pending(name, Tier.STORE, "remove", old=held(there[name].values())) for name in orphans),
    ]
    standing = [unit.holds for unit in units if unit.name not in changes]
    groups = form_groups(pending, standing)
    return HostChanges(changes, tuple(_without_lone_orphans(groups)), orphans)


def _without_lone_orphans(groups: tuple[Group, ...]) -> Iterator[Group]:
    """What nobody waits for goes last, when everything else runs."""
    for group in groups:
        if len(group.members) > 1 or group.members[0].action != "remove":
            yield group


def _owner(containers: Mapping[str, LiveContainer]) -> str | None:
    return next(iter(containers.values())).deployment


def _pending(
    change: UnitChange, artefacts: Artefacts, there: Mapping[str, Mapping[str, LiveContainer]]
) -> Pending:
    unit = change.unit
    action = change.container.action if change.container else "keep"
    live = there.get(unit.name, {})
    return Pending(
        name=unit.name,
        tier=unit.tier,
        action=action,
        serves=unit.serves,
        rolls=action in INTERRUPTS and artefacts.stack.stands_in(unit),
        old=held(live.values()) if live else Holds(),
        new=unit.holds,
    )


def _unit_change(
    unit: Unit, artefacts: Artefacts, found: UnitsState, there: Mapping[str, LiveContainer]
) -> UnitChange | None:
    """What happens to one unit; ``None`` if nothing."""
    container, tree, secrets = unit.container, unit.config, artefacts.secrets
    live = there.get(container.name)
    written = tree is None or file_tree.is_written(tree, found.releases, secrets)
    outdated = None if written else tree
    change = container_change(
        container.name,
        container.public(secrets.digest),
        there,
        found.image_id(container.image),
        config_is_newer=_config_is_newer(found, live, tree, outdated),
    )
    store = found.stores.get(container.name, ModelStore())
    model = None
    if unit.model:
        model = ollama_model.model_change(
            container.name, unit.model, store, restarts=change is not None
        )
    if not (change or model or outdated):
        return None
    return UnitChange(unit, change, model, outdated, _release_in_use(tree, live))


def _config_is_newer(
    found: UnitsState,
    live: LiveContainer | None,
    tree: ConfigTree | None,
    outdated: ConfigTree | None,
) -> bool:
    """Whether the files a container mounts are, or are about to be, newer than its start."""
    if live is None or tree is None:
        return False
    repaired = outdated is not None and str(outdated.directory) in found.releases
    return repaired or found.changed_at.get(str(tree.directory), 0) > live.started_at


def _release_in_use(tree: ConfigTree | None, live: LiveContainer | None) -> str | None:
    """The configuration release that the running container mounts."""
    if not (live and live.spec and tree):
        return None
    sources = [PurePosixPath(mount["source"]) for mount in live.spec.get("mounts", {}).values()]
    return next((str(source) for source in sources if source.parent == tree.root), None)
