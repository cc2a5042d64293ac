"""Where the operator finds the new keys of a deployment."""

from __future__ import annotations

from deploy.artefacts import Artefacts
from deploy.endpoints import router_url
from deploy.people.new_keys import Handover


def handover(artefacts: Artefacts) -> Handover:
    """A directory of this machine, next to the file of secrets."""
    name = artefacts.plan.name
    return Handover(artefacts.secrets.path.parent / f"{name}-keys", name, router_url(artefacts))
