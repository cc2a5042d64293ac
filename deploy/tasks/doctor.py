"""Looking at the hosts of a deployment.

Run: atelier doctor inventories/demo.py
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.artefacts import Artefacts
from deploy.errors import HostError
from deploy.hosts.finding import Finding
from deploy.hosts.surroundings import library_urls, registry_urls
from deploy.operations import doctor, sudo
from deploy.operations.questions import subject_of
from deploy.tasks.current import current_deployment


@deploy("Look at the host")
def examine() -> None:
    """Write down what is to be known of each host."""
    deployment = current_deployment(unlock_sudo=False)
    doctor.record([Finding("connection", "ok", "reached")])
    if not _may_look(deployment):
        return
    own, subject = deployment.stack.on(host.name), subject_of(deployment, host.name)
    pulled = [use for use in deployment.images_on(host.name) if use.is_pulled]
    doctor.examined(
        name="Look at the host",
        deployment=deployment.plan.name,
        subject=subject,
        urls=(*registry_urls(pulled), *library_urls(own), *filter(None, [subject.authority_url])),
        secrets=deployment.secrets,
    )


def _may_look(deployment: Artefacts) -> bool:
    """Whether sudo lets this user in, where it is declared; if not, that is what is found."""
    if not deployment.host(host.name).sudo:
        return True
    try:
        sudo.unlock()
    except HostError as error:
        doctor.record(
            Finding("sudo", "problem", problem.found, problem.allowed, problem.fix)
            for problem in error.problems
        )
        return False
    doctor.record([Finding("sudo", "ok", "lets this user in")])
    return True
