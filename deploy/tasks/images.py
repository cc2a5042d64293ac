"""Images are on every host before a container is replaced."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import image
from deploy.operations.questions import image_place


def provide(deployment: Artefacts) -> None:
    """Pull the images of the host's units, build and copy them, or load them."""
    image.present(
        name="Provide images",
        uses=list(deployment.images_on(host.name)),
        place=image_place(deployment, host.name),
        registries=deployment.registries,
        secrets=deployment.secrets,
    )
