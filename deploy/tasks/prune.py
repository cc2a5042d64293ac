"""Removing images and weights that a deployment does not need any more.

Run: pyinfra inventories/demo.py deploy.tasks.prune.remove
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.operations import old_image, old_weights
from deploy.operations.questions import by_cache, image_place
from deploy.services.weights import distinct_weights
from deploy.tasks.current import current_deployment


@deploy("Remove old images")
def remove(models: bool = False) -> None:
    """Remove the images that the deployment brought and nothing uses; weights where asked."""
    deployment = current_deployment()
    old_image.removed(
        name="Remove images that nothing uses",
        wanted=[use.image.reference for use in deployment.images_on(host.name)],
        place=image_place(deployment, host.name),
    )
    if not models:
        return
    spec = deployment.host(host.name)
    caches = by_cache(distinct_weights(deployment.stack.on(host.name)))
    caches.setdefault(str(deployment.context.weights_cache(spec.name)), ())
    for cache, wanted in caches.items():
        old_weights.removed(name=f"Remove weights from {cache}", cache=cache, wanted=wanted)
