"""Weights in the caches of a host that nothing uses any more."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.facts.weights import AllWeights, CachedWeights, OldWeights
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.lock import changes_host
from deploy.operations.weights import SCRIPT
from deploy.scripts import read_script
from deploy.units import MB


@changes_host
def removed(cache: str, wanted: Iterable[tuple[str, str]]) -> Commands:
    """The cache has only revisions that the deployment wants, or that a container may load.

    Args:
        cache: directory of the host with the cache.
        wanted: repositories and revisions that the deployment wants.
    """
    found = host.get_fact(AllWeights, cache=cache)
    kept = set(wanted)
    old = [
        each
        for each in found.weights
        if (each.repository, each.revision) not in kept and not _is_used(each, found)
    ]
    announce_all(
        Change(
            f"weights {each.repository}@{each.record} ({each.commit[:12]})",
            "remove",
            (FieldChange("size", f"{_own_bytes(each, found) / MB:.0f} MB", ABSENT),),
        )
        for each in old
    )
    if old:
        script = QuoteString(read_script(SCRIPT))
        triples = [part for each in old for part in (each.repository, each.record, each.commit)]
        arguments = [QuoteString(part) for part in ("remove", cache, *triples)]
        yield StringCommand("sh", "-c", script, "atelier", *arguments)


def _is_used(old: OldWeights, found: CachedWeights) -> bool:
    """Whether a container of this host, running or not, of any deployment, may load it."""
    return any(_names(old, command) for command in found.commands)


def _names(old: OldWeights, command: tuple[str, ...]) -> bool:
    arguments = _after_serve(command)
    if old.repository not in " ".join(arguments):
        return False
    if arguments[0] != old.repository or "--revision" not in arguments:
        # named in some other way, e.g. a draft model's: any revision may be meant
        return arguments[0] != old.repository or old.revision == "main"
    return old.revision in arguments


def _after_serve(command: tuple[str, ...]) -> tuple[str, ...]:
    """What vLLM is told: the model first. What watches over it may stand before."""
    if "serve" not in command[:-1]:
        return command
    return command[command.index("serve") + 1 :]


def _own_bytes(old: OldWeights, found: CachedWeights) -> int:
    """What goes with it: files that another revision has, too, stay."""
    others = {
        file.blob
        for each in found.weights
        if each is not old and each.repository == old.repository
        for file in each.files
    }
    return sum({f.blob: f.size_bytes for f in old.files if f.blob not in others}.values())
