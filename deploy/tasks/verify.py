"""A deployment is done when it has answered."""

from deploy.artefacts import Artefacts
from deploy.operations import verified


def ask(deployment: Artefacts) -> None:
    """Ask every engine, the router and the web UI, once for all hosts."""
    verified.answers(name="Ask every service", artefacts=deployment, _run_once=True)
