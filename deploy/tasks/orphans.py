"""What an older plan left behind goes last, when everything else runs."""

from deploy.artefacts import Artefacts
from deploy.operations import orphan


def remove(deployment: Artefacts) -> None:
    """Remove containers and configuration that the plan no longer has."""
    orphan.removed(name="Remove what the plan no longer has", artefacts=deployment)
