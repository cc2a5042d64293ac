"""Nothing is touched on a host that cannot be deployed to."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import precheck


def check(deployment: Artefacts) -> None:
    """Container engine, ports, memory and disk."""
    precheck.passed(
        name="Check the host",
        deployment=deployment.plan.name,
        components=deployment.stack.on(host.name),
    )
