"""What containers share: their network, and volumes with what must survive them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyinfra.api import QuoteString, StringCommand

from deploy.changes.change import Change
from deploy.facts import look
from deploy.facts.engine import Resources
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, foreign, refuse
from deploy.operations.lock import changes_host
from deploy.operations.script import DockerCommand
from deploy.services.container import LABEL_DEPLOYMENT


@changes_host
def present(network: str, volumes: list[str], deployment: str) -> Commands:
    """The network and the volumes exist and belong to the deployment.

    Args:
        network: name of the network.
        volumes: names of the volumes.
        deployment: name of the deployment.
    """
    found = look.ask(Resources)
    wanted = [("network", network), *(("volume", name) for name in volumes)]
    for problem in _belonging_to_others(wanted, found, deployment):
        yield from refuse(problem)
    missing = [(kind, name) for kind, name in wanted if f"{kind} {name}" not in found]
    announce_all(Change(f"{kind} {name}", "create") for kind, name in missing)
    label = QuoteString(f"{LABEL_DEPLOYMENT}={deployment}")
    for kind, name in missing:
        create = DockerCommand("docker", kind, "create", "--label", label, QuoteString(name))
        yield _once(create, name) if kind == "network" else create


def _once(create: StringCommand, network: str) -> StringCommand:
    """Take a network back that another deployment of this name created at the same moment, too.

    Docker lets two clients do that, and afterwards no container can use the name.
    """
    name = QuoteString(f"name=^{re.escape(network)}$")
    said = QuoteString(f"network {network} was created by another run, too: run it again")
    return DockerCommand(
        *("id=$(", create, ") &&"),
        *('if [ "$(docker network ls --quiet --filter', name, '| wc -l)" -gt 1 ]; then'),
        *('docker network rm "$id" >/dev/null; echo', said, "; exit 1; fi"),
    )


def _belonging_to_others(
    wanted: list[tuple[str, str]], found: dict[str, str], deployment: str
) -> Iterator[str]:
    for kind, name in wanted:
        owner = found.get(f"{kind} {name}", deployment)
        if owner != deployment:
            yield f"{kind} {name} {foreign(owner)}"
