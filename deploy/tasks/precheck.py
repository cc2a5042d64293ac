"""Nothing is touched on a host that cannot be deployed to."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.hosts.checks import Subject
from deploy.operations import precheck
from deploy.operations.questions import questions


def check(deployment: Artefacts) -> None:
    """Container engine, ports, memory, disk and declared GPUs."""
    look.will_ask(questions(deployment, host.name))
    precheck.passed(
        name="Check the host",
        deployment=deployment.plan.name,
        subject=Subject(
            deployment.host(host.name),
            deployment.stack.on(host.name),
            deployment.images_on(host.name),
            tuple(unit for unit in deployment.stack.units if unit.host != host.name),
        ),
    )
