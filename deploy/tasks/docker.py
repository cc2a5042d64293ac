"""Docker comes before everything that runs in it."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.operations import docker
from deploy.spec import HostSpec

LOSE_THEIR_GPU = {"ollama"}
"""Images whose containers lose their NVIDIA GPU silently under the cgroup driver systemd."""


def install(deployment: Artefacts) -> None:
    """Install, configure and start Docker where it is Atelier's to look after."""
    spec = deployment.host(host.name)
    docker.running(
        name="Install and configure Docker", spec=spec, cgroupfs=_would_lose_gpu(deployment, spec)
    )


def _would_lose_gpu(deployment: Artefacts, spec: HostSpec) -> bool:
    gpus = [load_catalog().gpus.get(name) for name in spec.gpus]
    has_nvidia = any(gpu is not None and gpu.vendor == "nvidia" for gpu in gpus)
    images = {component.image_name for component in deployment.stack.on(spec.name)}
    return has_nvidia and bool(images & LOSE_THEIR_GPU)
