"""Removing images and weights that a deployment does not need any more.

Run: pyinfra inventories/demo.py deploy.tasks.prune.remove
"""

from pyinfra import host
from pyinfra.api import deploy

from deploy.artefacts import Artefacts
from deploy.operations import old_image, old_program, old_weights
from deploy.operations.questions import by_cache, image_place
from deploy.services import HostProgram
from deploy.services.weights import distinct_weights
from deploy.tasks.current import current_deployment


@deploy("Remove old images and programs")
def remove(models: bool = False) -> None:
    """Remove images and programs that nothing uses; weights where asked."""
    deployment = current_deployment()
    old_image.removed(
        name="Remove images that nothing uses",
        wanted=[use.image.reference for use in deployment.images_on(host.name)],
        place=image_place(deployment, host.name),
    )
    spec = deployment.host(host.name)
    old_program.removed(
        name="Remove programs that nothing uses",
        directory=spec.directory / "programs",
        wanted=[str(program.path.parent) for program in _programs(deployment)],
    )
    if not models:
        return
    caches = by_cache(distinct_weights(deployment.stack.on(host.name)))
    caches.setdefault(str(deployment.context.weights_cache(spec.name)), ())
    for cache, wanted in caches.items():
        old_weights.removed(name=f"Remove weights from {cache}", cache=cache, wanted=wanted)


def _programs(deployment: Artefacts) -> list[HostProgram]:
    return [unit.program for unit in deployment.stack.on(host.name) if unit.program]
