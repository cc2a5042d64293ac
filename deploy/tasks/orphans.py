"""What an older plan left behind goes last, when everything else runs."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import orphan


def remove(deployment: Artefacts) -> None:
    """Remove containers and configuration that the plan no longer has."""
    own = deployment.stack.on(host.name)
    orphan.removed(
        name="Remove what the plan no longer has",
        deployment=deployment.plan.name,
        directory=deployment.context.directory(host.name),
        containers=[component.container.name for component in own],
        releases=[str(component.config.directory) for component in own if component.config],
        models={item.container.name: item.model.name for item in own if item.model},
    )
