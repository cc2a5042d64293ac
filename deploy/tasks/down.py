"""Removing a whole deployment.

Run: pyinfra inventories/demo.py deploy.tasks.down.remove
"""

from pyinfra.api import deploy

from deploy.operations import deployment as operations
from deploy.tasks.current import current_host


@deploy("Remove the deployment")
def remove(volumes: bool = False) -> None:
    """Remove containers, networks and configuration; volumes only where asked."""
    deployment, declared = current_host()
    operations.absent(
        name="Remove what Atelier deployed",
        deployment=deployment,
        directory=declared.deployment_directory(deployment),
        volumes=volumes,
    )
