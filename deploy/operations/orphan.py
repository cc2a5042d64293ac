"""What an older plan left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.drift import Change
from deploy.facts.deployment import Deployment
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand


@changes_host
def removed(
    deployment: str,
    directory: PurePosixPath,
    containers: Iterable[str],
    releases: Iterable[str],
    models: Mapping[str, str],
) -> Commands:
    """The host has no other containers, models and configuration of the deployment than these.

    Args:
        deployment: name of the deployment.
        directory: its own directory on the host.
        containers: names of the containers to keep.
        releases: directories of the configuration releases to keep.
        models: the model to keep of each container that has a store of them; what somebody else
            put there stays.
    """
    found = host.get_fact(Deployment, deployment=deployment, directory=str(directory))
    kept = {f"{name}{suffix}" for name in containers for suffix in ("", ".next", ".previous")}
    orphans = [name for name in found.containers if name not in kept]
    stale = [path for path in found.releases if path not in set(releases)]
    unwanted = [
        (name, model)
        for name, model in (row.split() for row in found.models)
        if name in {*models, *orphans} and models.get(name) != model
    ]
    announce_all(Change(f"model {model} in {name}", "remove") for name, model in unwanted)
    announce_all(Change(f"container {name}", "remove") for name in orphans)
    announce_all(Change(f"configuration {path}", "remove") for path in stale)
    for name, model in unwanted:
        yield ScriptCommand("ollama.sh", "remove", name, model, redact=str)
    for name in orphans:
        yield StringCommand("docker", "container", "rm", "--force", QuoteString(name))
    for path in stale:
        yield StringCommand("rm", "-rf", QuoteString(path))
