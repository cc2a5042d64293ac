"""Removing images that a deployment does not need any more.

Run: pyinfra inventories/demo.py deploy.tasks.prune.remove
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.operations import old_image
from deploy.operations.questions import image_place
from deploy.tasks.current import current_deployment


@deploy("Remove old images")
def remove() -> None:
    """Remove the images that the deployment brought and nothing uses."""
    deployment = current_deployment()
    old_image.removed(
        name="Remove images that nothing uses",
        wanted=[use.image.reference for use in deployment.images_on(host.name)],
        place=image_place(deployment, host.name),
    )
