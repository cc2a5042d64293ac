"""Looking at the hosts of a deployment.

Run: atelier doctor inventories/demo.py
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.hosts.checks import Subject
from deploy.hosts.surroundings import registry_urls
from deploy.operations import doctor
from deploy.tasks.current import current_deployment


@deploy("Look at the host")
def examine() -> None:
    """Write down what is to be known of each host."""
    deployment = current_deployment()
    own = deployment.stack.on(host.name)
    pulled = [item for item in own if not deployment.images[item.image_name].build]
    doctor.examined(
        name="Look at the host",
        deployment=deployment.plan.name,
        subject=Subject(deployment.host(host.name), own),
        urls=registry_urls(pulled),
    )
