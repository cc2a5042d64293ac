"""Removing a whole deployment.

Run: pyinfra inventories/demo.py deploy.tasks.down.remove
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.operations import deployment as operations
from deploy.tasks.current import current_deployment


@deploy("Remove the deployment")
def remove(volumes: bool = False) -> None:
    """Remove containers, networks and configuration; volumes only where asked."""
    deployment = current_deployment()
    operations.absent(
        name="Remove what Atelier deployed",
        deployment=deployment.plan.name,
        directory=deployment.context.directory(host.name),
        volumes=volumes,
    )
