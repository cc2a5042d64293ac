"""Engines, router and web UI: each a container with what it needs."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import container, model_file, resource
from deploy.services import Component, HostModelFile, Tier


def prepare(deployment: Artefacts) -> None:
    """Network, volumes and model files."""
    own = deployment.stack.on(host.name)
    resource.present(
        name="Create network and volumes",
        network=deployment.plan.name,
        volumes=list(dict.fromkeys(name for component in own for name in _volumes(component))),
        deployment=deployment.plan.name,
    )
    files = {component.model_file for component in own if component.model_file}
    for file in host.loop(_model_files(deployment)):
        if file in files:
            model_file.present(name=f"Copy model file {file.path.name}", file=file)


def run(deployment: Artefacts, tier: Tier) -> None:
    """Run the components of one tier."""
    for component in host.loop(deployment.stack.tier(tier)):
        if component.host == host.name:
            container.running(
                name=f"Run {component.container.name}",
                component=component,
                deployment=deployment.plan.name,
                secrets=deployment.secrets,
            )


def _volumes(component: Component) -> list[str]:
    mounts = component.container.mounts.values()
    return [mount.source for mount in mounts if mount.kind == "volume"]


def _model_files(deployment: Artefacts) -> list[HostModelFile]:
    """Every model file of every host, in an order that all hosts share."""
    files = (component.model_file for component in deployment.stack.components)
    return list(dict.fromkeys(file for file in files if file))
