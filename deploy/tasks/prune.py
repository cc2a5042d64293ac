"""Removing images that a deployment does not need any more.

Run: pyinfra inventories/demo.py deploy.tasks.prune.remove
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.operations import old_image
from deploy.operations.image_source import ImagePlace
from deploy.tasks.current import current_deployment


@deploy("Remove old images")
def remove() -> None:
    """Remove the images that the deployment brought and nothing uses."""
    deployment = current_deployment()
    directory = deployment.context.directory(host.name)
    old_image.removed(
        name="Remove images that nothing uses",
        wanted=[use.image.reference for use in deployment.images_on(host.name)],
        place=ImagePlace(directory, deployment.host(host.name).is_local),
    )
