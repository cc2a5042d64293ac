"""Nothing is touched on a host that cannot be deployed to."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.hosts.downloads import downloads_on
from deploy.hosts.subject import Subject
from deploy.operations import precheck


def check(deployment: Artefacts) -> None:
    """Container engine, ports, memory, disk and declared GPUs."""
    precheck.passed(
        name="Check the host",
        deployment=deployment.plan.name,
        subject=Subject(
            deployment.host(host.name),
            deployment.stack.on(host.name),
            deployment.images_on(host.name),
            downloads_on(host.name, deployment.context),
            deployment.context.directory(host.name),
        ),
    )
