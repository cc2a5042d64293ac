"""What an older plan left behind."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.artefacts import Artefacts
from deploy.changes.change import Change
from deploy.changes.live import base_name
from deploy.facts import look
from deploy.facts.engine import Resources
from deploy.facts.units import Units, UnitsState
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.container_command import remove
from deploy.operations.lock import changes_host
from deploy.operations.questions import units_question
from deploy.operations.replica_changes import ReplicaChanges
from deploy.operations.script import DockerCommand, ScriptCommand
from deploy.operations.unit_changes import host_changes
from deploy.services import ContainerSpec, compiled
from deploy.services.listener import SERVICE as LISTENER


@changes_host
def removed(artefacts: Artefacts, replicas: ReplicaChanges) -> Commands:
    """The host has nothing of the deployment that is not wanted.

    These are units, models, configuration, what routers were told, with the engines' keys, and what
    was compiled; volumes with data stay. What makes room for another one has gone with it.

    Args:
        artefacts: the deployment.
        replicas: those on several hosts that change: room is made on all of these.
    """
    found = look.ask(Units, **units_question(artefacts, host.name))
    resources = look.ask(Resources)
    changes = host_changes(artefacts, host.name, found, replicas.restarting)
    orphans = [
        live
        for unit, own in changes.orphans.items()
        if unit not in changes.swapped_orphans
        for live in own
    ]
    units = artefacts.stack.on(host.name)
    kept = {str(unit.config.directory) for unit in units if unit.config}
    stale = sorted(path for path in found.releases if path not in kept)
    told = _untold(artefacts, found)
    unwanted = _unwanted_models(artefacts, found, [base_name(live.name) for live in orphans])
    caches = _unwanted_caches(artefacts, resources)
    announce_all(Change(f"model {model} in {name}", "remove") for name, model in unwanted)
    announce_all(Change(f"{live.noun} {live.name}", "remove") for live in orphans)
    announce_all(Change(f"configuration {path}", "remove") for path in stale)
    announce_all(Change(f"directory {path}", "remove") for path in told)
    announce_all(Change(f"volume {name}", "remove") for name in caches)
    for name, model in unwanted:
        yield ScriptCommand("ollama.sh", "remove", name, model, redact=str)
    # what is open there is open in the network of its listener
    for live in sorted(orphans, key=lambda live: live.service == LISTENER):
        yield remove(live.name)
    for path in (*stale, *told):
        yield StringCommand("rm", "-rf", QuoteString(path))
    for name in caches:
        yield DockerCommand("docker", "volume", "rm", QuoteString(name))


def _untold(artefacts: Artefacts, found: UnitsState) -> list[str]:
    """Directories that no unit of the host reads any more, and through which none is kept away."""
    units, read = artefacts.stack.units, set[str]()
    for unit in artefacts.stack.on(host.name):
        if isinstance(unit.runs, ContainerSpec):
            read |= {mount.source for mount in unit.runs.mounts.values()}
    read |= {str(u.route.directory.parent) for u in units if u.route and u.route.host == host.name}
    return [path for path in found.told if path not in read]


def _unwanted_models(
    artefacts: Artefacts, found: UnitsState, orphans: list[str]
) -> list[tuple[str, str]]:
    """Models that Atelier made and no one wants any more, with their containers."""
    wanted = {
        (unit.name, model.name) for unit in artefacts.stack.on(host.name) for model in unit.models
    }
    made = [
        *((name, model) for name, store in found.stores.items() for model in store.made),
        *(pair for pair in found.other_models if base_name(pair[0]) in orphans),
    ]
    return [each for each in sorted(made) if each not in wanted]


def _unwanted_caches(artefacts: Artefacts, resources: dict[str, str]) -> list[str]:
    """Volumes with what was compiled for replicas that are no longer on the host."""
    own = artefacts.plan.name
    wanted = {name for unit in artefacts.stack.on(host.name) for name in unit.volumes}
    volumes = [
        resource.removeprefix("volume ")
        for resource, owner in resources.items()
        if resource.startswith("volume ") and owner == own
    ]
    return sorted(name for name in volumes if compiled.is_cache(name, own) and name not in wanted)
