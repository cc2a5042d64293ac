"""Docker comes before everything that runs in it."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.hosts.cdi import wants_cdi
from deploy.operations import docker
from deploy.plan.host_gpus import gpu_names
from deploy.spec import HostSpec

LOSE_THEIR_GPU = {"ollama"}
"""Images whose containers lose their NVIDIA GPU silently under the cgroup driver systemd."""


def install(deployment: Artefacts) -> None:
    """Install, configure and start Docker where it is needed, and Atelier's to look after."""
    if not deployment.stack.needs_docker(host.name):
        return
    spec = deployment.host(host.name)
    docker.running(
        name="Install and configure Docker",
        spec=spec,
        cgroupfs=_would_lose_gpu(deployment, spec),
        cdi=wants_cdi(deployment.stack.on(host.name)),
    )


def _would_lose_gpu(deployment: Artefacts, spec: HostSpec) -> bool:
    catalog = load_catalog()
    gpus = [catalog.gpus[name] for name in gpu_names(spec, catalog)]
    has_nvidia = any(gpu.vendor == "nvidia" for gpu in gpus) and not spec.uses_cdi
    images = {unit.image_name for unit in deployment.stack.on(spec.name)}
    return has_nvidia and bool(images & LOSE_THEIR_GPU)
