"""A deployment is done when it has answered."""

from deploy.artefacts import Artefacts
from deploy.operations import verified
from deploy.tasks.once import is_first


def ask(deployment: Artefacts) -> None:
    """Ask every engine, the router and the web UI, once for all hosts."""
    if is_first():
        verified.answers(name="Ask every service", artefacts=deployment)
