"""Images are on every host before a container is replaced."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import image
from deploy.operations.image_source import ImagePlace


def provide(deployment: Artefacts) -> None:
    """Pull the images of the host's components, build and copy them, or load them."""
    directory = deployment.context.directory(host.name)
    image.present(
        name="Provide images",
        uses=list(deployment.images_on(host.name)),
        place=ImagePlace(directory, deployment.host(host.name).is_local),
        registries=deployment.registries,
        secrets=deployment.secrets,
    )
