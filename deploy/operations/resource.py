"""Networks and volumes: things of the container engine that only have to exist."""

from __future__ import annotations

from typing import Literal

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.drift import Change
from deploy.facts.engine import Resources
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, foreign, refuse
from deploy.services.container import LABEL_DEPLOYMENT


def create_missing(
    kind: Literal["network", "volume"], names: list[str], deployment: str
) -> Commands:
    """Create the networks or volumes that the host does not have; refuse those of others."""
    networks, volumes = (names, []) if kind == "network" else ([], names)
    found = host.get_fact(Resources, networks=networks, volumes=volumes)
    missing = [name for name in names if f"{kind} {name}" not in found]
    owners = {
        name: found[f"{kind} {name}"].get(LABEL_DEPLOYMENT) for name in names if name not in missing
    }
    for name, owner in owners.items():
        if owner != deployment:
            yield from refuse(f"{kind} {name} {foreign(owner)}")
    announce_all(Change(f"{kind} {name}", "create") for name in missing)
    label = QuoteString(f"{LABEL_DEPLOYMENT}={deployment}")
    for name in missing:
        yield StringCommand("docker", kind, "create", "--label", label, QuoteString(name))
