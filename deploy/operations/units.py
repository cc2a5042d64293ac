"""Units that run as wanted: the heart of a deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pyinfra import host, state
from pyinfra.api import StringCommand

from deploy.artefacts import Artefacts
from deploy.changes.change import Change
from deploy.changes.live import Live, named
from deploy.changes.order import Group, lanes
from deploy.facts import look
from deploy.facts.health import Health
from deploy.facts.units import Units, UnitsState
from deploy.operations import file_tree, ollama_model
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, foreign, refuse
from deploy.operations.container_command import (
    clean,
    prepare,
    ready,
    replace,
    start,
    swap,
)
from deploy.operations.drained import drained
from deploy.operations.lock import changes_host
from deploy.operations.questions import units_question
from deploy.operations.replica_changes import Part, ReplicaChanges, is_made_anew
from deploy.operations.together import TogetherCommand
from deploy.operations.unit_changes import HostChanges, UnitChange, host_changes
from deploy.operations.verified import sign_in_again
from deploy.operations.whole_replica import WholeCommand
from deploy.services import ContainerSpec, Tier, Unit
from deploy.services.container import CLIENT_SETTINGS

NO_REPLICAS = ReplicaChanges()
DOCKER = ("env", *(word for name in CLIENT_SETTINGS for word in ("-u", name)), "docker")
ASK_INSIDE = (
    'end=$(($(date +%s) + 30)); until docker exec "$@"; do'
    ' [ "$(date +%s)" -lt "$end" ] || exit 1; sleep 1; done'
)
"""Shell: runs a command in a container that may be starting again just now, as an entry does when
its listener was replaced."""


@changes_host
def converged(
    artefacts: Artefacts,
    tier: Tier,
    *,
    rolling: bool | None = False,
    replicas: ReplicaChanges = NO_REPLICAS,
) -> Commands:
    """The files, containers, services and models of a tier's units are as described, and healthy.

    A container that differs is replaced: the new one must become healthy, else the one before
    serves again and the operation fails with the new one's last log lines. Units that need what
    another one still has change together. What is independent changes at the same time.

    Args:
        artefacts: the deployment.
        tier: whose units.
        rolling: those that serve while units of other hosts serve the same, and only those; it
            is one host's turn then. ``False`` for all others, ``None`` for all: there is no turn.
        replicas: those on several hosts that change: their other hosts are made ready in a tier of
            their own, and change with the one that is asked.
    """
    found = look.ask(Units, **units_question(artefacts, host.name))
    own = [unit for unit in artefacts.stack.on(host.name) if unit.tier == tier]
    for problem in _belonging_to_others(own, found, artefacts.plan.name):
        yield from refuse(problem)
        return
    changes = host_changes(artefacts, host.name, found, replicas.restarting)
    groups = _due(changes, tier, replicas, rolling=rolling)
    # replicas share their files: those of replicas that change earlier are there by then
    told = set(_outdated(_earlier(changes, tier, replicas, rolling=rolling), changes))
    if groups and tier == Tier.WEB_UI and state.is_executing:
        sign_in_again()
    for group in groups:
        _announce(group, changes, artefacts, found, told)
    for change in _outdated(groups, changes).values():
        yield from _write(change, artefacts)
    yield from _carry_out(
        [[*_commands(lane, changes, replicas, artefacts)] for lane in lanes(groups)]
    )
    if not groups:
        host.noop(f"the {tier.plural} run as wanted")
    if not rolling and state.is_executing:
        yield from _wait(own, changes, found, artefacts)


def turns(artefacts: Artefacts, replicas: ReplicaChanges = NO_REPLICAS) -> frozenset[Tier]:
    """Tiers in which the current host takes its turn, as others serve the same as it.

    They are those of such units, and later ones that such a unit has to change with, as another
    service takes its port.

    Args:
        artefacts: the deployment.
        replicas: those on several hosts that change.
    """
    shared = [u for u in artefacts.stack.on(host.name) if artefacts.stack.stands_in(u)]
    if not shared:
        return frozenset()
    found = look.ask(Units, **units_question(artefacts, host.name))
    changes = host_changes(artefacts, host.name, found, replicas.restarting)
    later = {group.tier for group in changes.groups if group.rolls}
    return frozenset(later | {unit.tier for unit in shared})


def _belonging_to_others(units: list[Unit], found: UnitsState, deployment: str) -> Iterator[str]:
    names = {unit.name for unit in units}
    for live in found.everything:
        if live.name in names and live.deployment != deployment:
            yield f"{live.noun} {live.name} {foreign(live.deployment)}"


def _due(
    changes: HostChanges, tier: Tier, replicas: ReplicaChanges, *, rolling: bool | None
) -> tuple[Group, ...]:
    """The groups whose turn it is; further hosts of a replica are made ready before it changes."""
    nodes = tuple(group for group in changes.groups if _is_node(_part(group, replicas)))
    due = changes.of(tier, rolling=rolling)
    ready = nodes if tier == Tier.NODE and not rolling else ()
    return (*(group for group in due if group not in nodes), *ready)


def _earlier(
    changes: HostChanges, tier: Tier, replicas: ReplicaChanges, *, rolling: bool | None
) -> tuple[Group, ...]:
    """The groups whose turn comes before."""
    order = [(each, rolls) for each in Tier for rolls in (False, True)]
    before = order[: order.index((tier, bool(rolling)))]
    return tuple(
        group for each, rolls in before for group in _due(changes, each, replicas, rolling=rolls)
    )


def _part(group: Group, replicas: ReplicaChanges) -> Part | None:
    """The part of a replica on several hosts that is in a group."""
    found = (replicas.part(member.name, host.name) for member in group.members)
    return next((part for part in found if part), None)


def _is_node(part: Part | None) -> bool:
    return part is not None and part.unit.name != part.unit.replica


def _outdated(groups: tuple[Group, ...], changes: HostChanges) -> dict[PurePosixPath, UnitChange]:
    """Units with files to write, one for each directory of them."""
    members = (changes.units.get(member.name) for group in groups for member in group.members)
    return {each.outdated.directory: each for each in members if each and each.outdated}


def _write(change: UnitChange, artefacts: Artefacts) -> Commands:
    """Write its files; those that it reads while it runs, only where it would take them."""
    tree, runs = change.outdated, change.unit.runs
    assert tree is not None  # noqa: S101 - of those that have files to write
    check: Sequence[str] = ()
    wait: Sequence[str] = ()
    if tree.watch and change.is_there:
        check = tree.watch.check
        if isinstance(runs, ContainerSpec):
            check = (*DOCKER, *runs.once_arguments(*check))
    if tree.watch and change.runs is None:
        wait = tree.watch.wait
        if isinstance(runs, ContainerSpec):
            wait = ("sh", "-c", ASK_INSIDE, "-", change.unit.name, *wait)
    yield from file_tree.write(tree, artefacts.secrets, check, wait)


def _announce(
    group: Group,
    changes: HostChanges,
    artefacts: Artefacts,
    found: UnitsState,
    told: set[PurePosixPath],
) -> None:
    """Say what a group changes, but for files in directories that were told of already."""
    for member in group.members:
        change = changes.units.get(member.name)
        if change is None:
            orphans = changes.orphans[member.name]
            models = changes.models.get(member.name, ())
            announce_all(Change(f"model {model} in {member.name}", "remove") for model in models)
            announce_all(Change(f"{live.noun} {live.name}", "remove") for live in orphans)
            continue
        if change.outdated and change.outdated.directory not in told:
            told.add(change.outdated.directory)
            announce_all(
                file_tree.changes(
                    change.outdated, found.releases, change.release_in_use, artefacts.secrets
                )
            )
        made_models = (made for _, made in change.models)
        announce_all(made for made in (change.runs, *made_models) if made)
        _say_why(change, found, artefacts)


def _say_why(change: UnitChange, found: UnitsState, artefacts: Artefacts) -> None:
    """The last line of a service that does not run as it should."""
    service = found.services.get(change.unit.name)
    if service and service.last_line and change.runs and state.config.DIFF:
        host.log(f"    {service.name} says: {artefacts.secrets.redact(service.last_line)}")


def _carry_out(ready: list[list[StringCommand]]) -> Commands:
    busy = [lane for lane in ready if lane]
    if len(busy) > 1:
        yield TogetherCommand(busy)
    else:
        yield from (command for lane in busy for command in lane)


def _commands(
    lane: tuple[Group, ...], changes: HostChanges, replicas: ReplicaChanges, artefacts: Artefacts
) -> Iterator[StringCommand]:
    for group in lane:
        members = [changes.units[m.name] for m in group.members if m.name in changes.units]
        part = _part(group, replicas)
        if part:
            yield from _whole(part, members, replicas, artefacts)
        elif len(group.members) > 1:
            fresh = [m.unit for m in members if m.runs]
            yield from (prepare(unit, artefacts) for unit in fresh)
            serving = [member.unit for member in members if _replaces(member)]
            names = [member.name for member in group.members]
            keeping = changes.made_in(names)
            yield drained(swap(names, fresh, artefacts, tuple(keeping)), serving)
            yield from ollama_model.emptied(keeping)
        else:
            yield from (_command(change, artefacts) for change in members if change.runs)
        for change in members:
            for model, made in change.models:
                yield ollama_model.model_command(change.unit.name, model, made)


def _whole(
    part: Part, members: list[UnitChange], replicas: ReplicaChanges, artefacts: Artefacts
) -> Iterator[StringCommand]:
    """What a replica on several hosts needs on this one; where it is asked, it changes."""
    for change in members:
        if is_made_anew(change, alone=len(part.names) == 1):
            yield prepare(change.unit, artefacts)
        elif change.runs:
            yield ready(change.unit, artefacts)
    if not _is_node(part):
        serving = [m.unit for m in members if _replaces(m) or _restarts(m)]
        yield drained(WholeCommand(replicas.replicas[part.unit.replica], artefacts), serving)


def _replaces(change: UnitChange) -> bool:
    """Whether there is one that may be answering."""
    return change.runs is not None and change.runs.action == "recreate"


def _restarts(change: UnitChange) -> bool:
    return change.runs is not None and change.runs.action == "restart"


def _command(change: UnitChange, artefacts: Artefacts) -> StringCommand:
    action = change.runs.action if change.runs else ""
    if action in {"create", "recreate"}:
        # the one before it answers what it has begun
        serving = [change.unit] if _replaces(change) and not change.unit.gives_way else []
        return drained(replace(change.unit, artefacts), serving)
    if action in {"start", "restart", "enable"}:
        serving = [change.unit] if _restarts(change) and change.unit.replica else []
        return drained(start(action, change.unit, artefacts), serving)
    return clean(change.unit, artefacts)


def _wait(
    units: list[Unit], changes: HostChanges, found: UnitsState, artefacts: Artefacts
) -> Commands:
    """Wait for what a killed run, or the host's own start, has just started."""
    for unit in units:
        live: Live | None = named(unit.name, unit.runs.noun, found.everything)
        if unit.name in changes.units or live is None or live.health != "starting":
            continue
        problem = host.get_fact(
            Health, container=unit.name, timeout_seconds=unit.start_timeout_seconds
        )
        if problem:
            yield from refuse(artefacts.secrets.redact(problem))
