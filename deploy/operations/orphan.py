"""What an older plan left behind."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.artefacts import Artefacts
from deploy.changes.change import Change
from deploy.changes.live import base_name
from deploy.facts import look
from deploy.facts.units import Units, UnitsState
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.lock import changes_host
from deploy.operations.questions import units_question
from deploy.operations.script import ScriptCommand
from deploy.operations.unit_changes import host_changes


@changes_host
def removed(artefacts: Artefacts) -> Commands:
    """The host has no other containers, models and configuration of the deployment than wanted.

    Containers that make room for another one have gone with it.
    """
    found = look.ask(Units, **units_question(artefacts, host.name))
    changes = host_changes(artefacts, host.name, found)
    orphans = [
        name
        for unit, names in changes.orphans.items()
        if unit not in changes.swapped_orphans
        for name in names
    ]
    units = artefacts.stack.on(host.name)
    kept = {str(unit.config.directory) for unit in units if unit.config}
    stale = sorted(path for path in found.releases if path not in kept)
    unwanted = _unwanted_models(artefacts, found, orphans)
    announce_all(Change(f"model {model} in {name}", "remove") for name, model in unwanted)
    announce_all(Change(f"container {name}", "remove") for name in orphans)
    announce_all(Change(f"configuration {path}", "remove") for path in stale)
    for name, model in unwanted:
        yield ScriptCommand("ollama.sh", "remove", name, model, redact=str)
    for name in orphans:
        yield StringCommand("docker", "container", "rm", "--force", QuoteString(name))
    for path in stale:
        yield StringCommand("rm", "-rf", QuoteString(path))


def _unwanted_models(
    artefacts: Artefacts, found: UnitsState, orphans: list[str]
) -> list[tuple[str, str]]:
    """Models that Atelier made and nobody wants any more, with their containers."""
    wanted = {unit.name: unit.model.name for unit in artefacts.stack.on(host.name) if unit.model}
    made = [
        *((name, model) for name, store in found.stores.items() for model in store.made),
        *(pair for pair in found.other_models if base_name(pair[0]) in orphans),
    ]
    return [(name, model) for name, model in sorted(made) if wanted.get(name) != model]
