"""Images are on every host before a container is replaced."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import image
from deploy.operations.image_source import ImagePlace


def provide(deployment: Artefacts) -> None:
    """Pull the images of the host's components, build and copy them, or load them."""
    names = {component.image_name for component in deployment.stack.on(host.name)}
    uses = [use for name, use in deployment.images.items() if name in names]
    directory = deployment.context.directory(host.name)
    image.present(
        name="Provide images",
        uses=uses,
        place=ImagePlace(directory, deployment.host(host.name).is_local),
        registries=deployment.registries,
        secrets=deployment.secrets,
    )
