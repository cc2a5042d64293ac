"""What every service module is given: the deployment, and where its images and files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.deployment_plan import DeploymentPlan, HostPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.programs import Program
from deploy.services.container import LOOPBACK, ContainerSpec
from deploy.services.host_files import ConfigFile, ConfigTree, Watch
from deploy.services.host_service import data_directory
from deploy.services.launchd import LaunchdSpec
from deploy.services.program import HostProgram
from deploy.services.systemd import SystemdSpec
from deploy.spec.engine_kinds import EngineKind
from deploy.spec.host import WeightsSource, deployment_directory

TMP = PurePosixPath("/tmp")  # noqa: S108 - inside the container
LIVE = "live"


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
    acme_authorities: str = ""
    """PEM of the authorities that prove an ACME directory and what it issues; empty where systems
    know them."""
    login_authorities: Mapping[str, str] = field(default_factory=dict)
    """PEM of the authorities that prove a provider of logins, by ``oidc`` and ``ldap``; those that
    systems know are left out."""
    huggingface_endpoint: str = "https://huggingface.co"
    """Where models are fetched from."""
    weights_sources: Mapping[str, WeightsSource] = field(default_factory=dict)
    """How they come to each host."""
    programs: Mapping[str, Mapping[str, Program]] = field(default_factory=dict)
    """The programs of services without a container, by host and name."""
    service_users: Mapping[str, str] = field(default_factory=dict)
    """Accounts that those run as, where one is declared, by host."""

    def container_name(self, *parts: str, index: int = 0) -> str:
        """``<deployment>-<service>[-<model>]-<replica>``."""
        return "-".join((self.plan.name, *parts, str(index)))

    def replica_name(self, service: str, replica: ReplicaPlan) -> str:
        """Name of a replica's container, and its DNS name on the deployment's network."""
        return self.container_name(service, replica.engine_name, index=replica.index)

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
            network=own.pop("network", self.plan.name),
            **own,
        )

    def native(self, name: str, service: str, replica: ReplicaPlan, **own: Any) -> SystemdSpec:
        """A replica as a service of its host: what all have in common, and what is its own."""
        return SystemdSpec(
            user=self.service_users.get(replica.host, ""),
            **self._served(name, service, replica),
            **own,
        )

    def daemon(self, name: str, service: str, replica: ReplicaPlan, **own: Any) -> LaunchdSpec:
        """A replica as a daemon of a Mac: what all have in common, and what is its own."""
        return LaunchdSpec(
            user=self.service_users[replica.host],
            directory=data_directory(self.plan.name) / name,
            **self._served(name, service, replica),
            **own,
        )

    def _served(self, name: str, service: str, replica: ReplicaPlan) -> dict[str, Any]:
        """What a replica has as a service of its host, whatever runs it."""
        address, port = self.listens(replica)
        return {
            "name": name,
            "service": service,
            "memory_bytes": replica.memory_limit_bytes,
            "address": address,
            "port": port,
            "start_period_seconds": replica.engine.start_timeout_seconds,
        }

    def listens(self, replica: ReplicaPlan) -> tuple[str, int]:
        """Address and port of a replica without a container: behind a link, its host's own."""
        assert replica.port is not None  # noqa: S101 - the plan gives it one
        return LOOPBACK if replica.is_linked else self.host(replica).address, replica.port

    def program(self, host: str, name: str) -> HostProgram:
        """A program on a host; deployments share it."""
        program = self.programs[host][name]
        spec, archive = program.spec, program.archive
        path = spec.path
        if archive:
            path = self.directories[host] / "programs" / name / archive.sha256[:16] / name
        assert path is not None  # noqa: S101 - either is declared
        return HostProgram(name=name, version=spec.version, path=path, archive=archive)

    def host(self, replica: ReplicaPlan) -> HostPlan:
        """The host of a replica."""
        return self.plan.host(replica.host)

    def config_tree(
        self, host: str, service: str, files: dict[str, ConfigFile], watch: Watch | None = None
    ) -> ConfigTree:
        """The configuration of a service below the deployment's directory on its host."""
        root = self.directory(host) / "config" / service
        return ConfigTree(root=root, files=files, watch=watch)

    def directory(self, host: str) -> PurePosixPath:
        """What belongs to this deployment alone on a host."""
        return deployment_directory(self.directories[host], self.plan.name)

    def live_directory(self, host: str, service: str) -> PurePosixPath:
        """What a service reads whenever it changes; no one else on the host gets there."""
        return self.directory(host) / LIVE / service

    def model_path(self, host: str, sha256: str, filename: str) -> PurePosixPath:
        """Where a model file is kept on a host; deployments share it."""
        return self.models_directory(host) / sha256[:16] / filename

    def models_directory(self, host: str) -> PurePosixPath:
        """Where every model file is kept on a host."""
        return self.directories[host] / "models"

    def weights_cache(self, host: str) -> PurePosixPath:
        """Where the weights of Hugging Face are kept on a host; deployments share it."""
        return self.models_directory(host) / "huggingface"
