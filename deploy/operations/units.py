"""Units that run as wanted: the heart of a deployment."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import host, state
from pyinfra.api import StringCommand

from deploy.artefacts import Artefacts
from deploy.changes.change import Change
from deploy.changes.order import Group, lanes
from deploy.facts import look
from deploy.facts.health import Health
from deploy.facts.units import Units, UnitsState
from deploy.operations import file_tree, ollama_model
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, foreign, refuse
from deploy.operations.container_command import clean, prepare, replace, start, swap
from deploy.operations.lock import changes_host
from deploy.operations.questions import units_question
from deploy.operations.together import TogetherCommand
from deploy.operations.unit_changes import HostChanges, UnitChange, host_changes
from deploy.services import Tier, Unit


@changes_host
def converged(artefacts: Artefacts, tier: Tier, *, rolling: bool = False) -> Commands:
    """The files, containers and models of a tier's units are as described, and healthy.

    A container that differs is replaced: the new one must become healthy, else the one before
    serves again and the operation fails with the new one's last log lines. Units that need what
    another one still has change together. What is independent changes at the same time.

    Args:
        artefacts: the deployment.
        tier: whose units.
        rolling: those that serve while units of other hosts serve the same, and only those; it
            is one host's turn then.
    """
    found = look.ask(Units, **units_question(artefacts, host.name))
    own = [unit for unit in artefacts.stack.on(host.name) if unit.tier == tier]
    for problem in _belonging_to_others(own, found, artefacts.plan.name):
        yield from refuse(problem)
        return
    changes = host_changes(artefacts, host.name, found)
    groups = changes.of(tier, rolling=rolling)
    for group in groups:
        _announce(group, changes, artefacts, found)
    for tree in (change.outdated for change in _changing(groups, changes)):
        if tree:
            yield from file_tree.write(tree, artefacts.secrets)
    yield from _carry_out([[*_commands(lane, changes, artefacts)] for lane in lanes(groups)])
    if not groups:
        host.noop(f"the {tier.plural} run as wanted")
    if not rolling and state.is_executing:
        yield from _wait(own, changes, found, artefacts)


def _belonging_to_others(units: list[Unit], found: UnitsState, deployment: str) -> Iterator[str]:
    for unit in units:
        live = found.containers.get(unit.name)
        if live and live.deployment != deployment:
            yield f"container {unit.name} {foreign(live.deployment)}"


def _changing(groups: tuple[Group, ...], changes: HostChanges) -> Iterator[UnitChange]:
    for group in groups:
        for member in group.members:
            if member.name in changes.units:
                yield changes.units[member.name]


def _announce(group: Group, changes: HostChanges, artefacts: Artefacts, found: UnitsState) -> None:
    for member in group.members:
        change = changes.units.get(member.name)
        if change is None:
            names = changes.orphans[member.name]
            announce_all(Change(f"container {name}", "remove") for name in names)
            continue
        if change.outdated:
            announce_all(
                file_tree.changes(
                    change.outdated, found.releases, change.release_in_use, artefacts.secrets
                )
            )
        announce_all(made for made in (change.container, change.model) if made)


def _carry_out(ready: list[list[StringCommand]]) -> Commands:
    busy = [lane for lane in ready if lane]
    if len(busy) > 1:
        yield TogetherCommand(busy)
    else:
        yield from (command for lane in busy for command in lane)


def _commands(
    lane: tuple[Group, ...], changes: HostChanges, artefacts: Artefacts
) -> Iterator[StringCommand]:
    for group in lane:
        members = [changes.units[m.name] for m in group.members if m.name in changes.units]
        if len(group.members) > 1:
            fresh = [m.unit for m in members if m.container]
            yield from (prepare(unit, artefacts) for unit in fresh)
            yield swap([member.name for member in group.members], fresh, artefacts)
        else:
            yield from (_command(change, artefacts) for change in members if change.container)
        for change in members:
            if change.unit.model and change.model:
                yield ollama_model.model_command(change.unit.name, change.unit.model, change.model)


def _command(change: UnitChange, artefacts: Artefacts) -> StringCommand:
    action = change.container.action if change.container else ""
    if action in {"create", "recreate"}:
        return replace(change.unit, artefacts)
    if action in {"start", "restart"}:
        return start(action, change.unit, artefacts)
    return clean(change.unit, artefacts)


def _wait(
    units: list[Unit], changes: HostChanges, found: UnitsState, artefacts: Artefacts
) -> Commands:
    """Wait for containers that a killed run, or the host's own start, has just started."""
    for unit in units:
        live = found.containers.get(unit.name)
        if unit.name in changes.units or live is None or live.health != "starting":
            continue
        problem = host.get_fact(
            Health, container=unit.name, timeout_seconds=unit.start_timeout_seconds
        )
        if problem:
            yield from refuse(artefacts.secrets.redact(problem))
