"""Nothing is touched on a host that cannot be deployed to."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.operations import precheck
from deploy.operations.questions import questions, subject_of


def check(deployment: Artefacts) -> None:
    """Docker, ports, memory, disk and declared GPUs."""
    look.will_ask(questions(deployment, host.name))
    precheck.passed(
        name="Check the host",
        deployment=deployment.plan.name,
        subject=subject_of(deployment, host.name),
        secrets=deployment.secrets,
    )
