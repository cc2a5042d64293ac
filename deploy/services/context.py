"""What every service module is given: the deployment, and where its images and files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.deployment_plan import DeploymentPlan, HostPlan, ReplicaPlan
from deploy.services.container import ContainerSpec, Port
from deploy.services.unit import ConfigFile, ConfigTree
from deploy.spec.engine import EngineKind
from deploy.spec.host import WeightsSource, deployment_directory

TMP = PurePosixPath("/tmp")  # noqa: S108 - inside the container


@dataclass(frozen=True)
class ResolvedImage:
    """An image as a container uses it."""

    name: str
    """Name in the catalogue."""
    reference: str
    user: str
    read_only: bool


@dataclass(frozen=True)
class ServiceContext:
    """The plan, the images to use, and the directory of each host."""

    plan: DeploymentPlan
    images: dict[str, ResolvedImage]
    directories: dict[str, PurePosixPath]
    site_certificate: str = ""
    """PEM of the site's own certificate for the entry; empty where Atelier makes one."""
    huggingface_endpoint: str = "https://huggingface.co"
    """Where models are fetched from."""
    weights_sources: Mapping[str, WeightsSource] = field(default_factory=dict)
    """How they come to each host."""

    def container_name(self, *parts: str, index: int = 0) -> str:
        """``<deployment>-<service>[-<model>]-<replica>``."""
        return "-".join((self.plan.name, *parts, str(index)))

    def replica_name(self, service: str, replica: ReplicaPlan) -> str:
        """Name of a replica's container, and its DNS name on the deployment's network."""
        return self.container_name(service, replica.model, index=replica.index)

    def replicas(self, kind: EngineKind) -> tuple[ReplicaPlan, ...]:
        """The replicas that one kind of engine serves."""
        return tuple(replica for replica in self.plan.replicas if replica.engine.kind == kind)

    def container(self, name: str, service: str, image_name: str, **own: Any) -> ContainerSpec:
        """A container of this deployment: what all have in common, and what is its own."""
        image = self.images[image_name]
        return ContainerSpec(
            name=name,
            service=service,
            image=image.reference,
            user=image.user,
            read_only=image.read_only,
            tmpfs=own.pop("tmpfs", (TMP,)),
            network=self.plan.name,
            **own,
        )

    def published(self, replica: ReplicaPlan, container_port: int) -> tuple[Port, ...]:
        """The port of a replica that a router on another host must reach; else none."""
        if replica.port is None:
            return ()
        address = self.host(replica).address
        return (Port(host_ip=address, host_port=replica.port, container_port=container_port),)

    def host(self, replica: ReplicaPlan) -> HostPlan:
        """The host of a replica."""
        return self.plan.host(replica.host)

    def config_tree(self, host: str, service: str, files: dict[str, ConfigFile]) -> ConfigTree:
        """The configuration of a service below the deployment's directory on its host."""
        return ConfigTree(root=self.directory(host) / "config" / service, files=files)

    def directory(self, host: str) -> PurePosixPath:
        """What belongs to this deployment alone on a host."""
        return deployment_directory(self.directories[host], self.plan.name)

    def model_path(self, host: str, sha256: str, filename: str) -> PurePosixPath:
        """Where a model file is kept on a host; deployments share it."""
        return self.directories[host] / "models" / sha256[:16] / filename

    def weights_cache(self, host: str) -> PurePosixPath:
        """Where the weights of Hugging Face are kept on a host; deployments share it."""
        return self.directories[host] / "models" / "huggingface"
