"""Images are on every host before a container is replaced."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import image


def provide(deployment: Artefacts) -> None:
    """Pull the images of the host's components, or build them here and copy them there."""
    names = {component.image_name for component in deployment.stack.on(host.name)}
    uses = [use for name, use in deployment.images.items() if name in names]
    image.present(
        name="Provide images",
        uses=uses,
        directory=deployment.context.directory(host.name) / "images",
        is_local=deployment.host(host.name).is_local,
    )
