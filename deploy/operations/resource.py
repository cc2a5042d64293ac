"""What containers share: their network, and volumes with what must survive them."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api import QuoteString

from deploy.changes.change import Change
from deploy.facts import look
from deploy.facts.engine import Resources
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, changes_host, foreign, refuse
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
        yield DockerCommand("docker", kind, "create", "--label", label, QuoteString(name))


def _belonging_to_others(
    wanted: list[tuple[str, str]], found: dict[str, str], deployment: str
) -> Iterator[str]:
    for kind, name in wanted:
        owner = found.get(f"{kind} {name}", deployment)
        if owner != deployment:
            yield f"{kind} {name} {foreign(owner)}"
