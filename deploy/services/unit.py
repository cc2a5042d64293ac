"""What a service module makes: what runs, its files, and what it needs and holds on its host."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from deploy.services.container import ContainerSpec
from deploy.services.host_files import (
    CompileCache,
    ConfigTree,
    DataFile,
    HostModelFile,
    HostWeights,
    StoredModel,
)
from deploy.services.launchd import LaunchdSpec
from deploy.services.program import HostProgram
from deploy.services.runs import Marks, Part, SecretDigest, canonical_json
from deploy.services.systemd import SystemdSpec


class Tier(StrEnum):
    """The order in which services start: each tier waits for the one before, on all hosts."""

    STORE = "store"
    NODE = "node"
    """Further hosts of an engine, which wait for the one that is asked."""
    ENGINE = "engine"
    LINK = "link"
    """What takes requests to services on other hosts, and what listens for it."""
    CONSUMER = "consumer"
    """What says which engine a request of a router is for."""
    ROUTER = "router"
    WEB_UI = "web_ui"
    CERTIFICATE = "certificate"
    LISTENER = "listener"
    """What listens on the ports of the entry."""
    ENTRY = "entry"

    @property
    def position(self) -> int:
        """Its place in the order, from 0."""
        return list(Tier).index(self)

    @property
    def plural(self) -> str:
        """What its services are called, e.g. ``engines``."""
        return {"web_ui": "web UIs", "entry": "entries"}.get(self.value, f"{self.value}s")


class Route(Part):
    """How requests come to a unit, and how they are kept away while it is replaced."""

    host: str
    """Name of the host that they are sent from."""
    directory: PurePosixPath
    """Directory of that host where it is written down who gets none, and until when."""
    names: tuple[str, ...]
    """What the unit is called there: routers know it by all of them, an entry by one."""
    port: int
    """The port that it listens on in its container."""
    asked_on: str = ""
    """Name of the host whose own network the port is in; empty where that is its container's."""
    stands_behind: str = ""
    """Name of the unit that is asked in its place: requests come again when that one is back."""
    entry: str = ""
    """Name of the entry's container, which must be told; empty where routers read the directory."""


class Holds(Part):
    """What only one unit of a host can have at a time."""

    ports: frozenset[int] = frozenset()
    """TCP ports of the host."""
    gpus: dict[int, float] = Field(default_factory=dict)
    """Shares of GPU memory, from 0 to 1, by the GPU's index."""
    memory_bytes: int = 0
    """The most that it may use of the host's memory."""

    def to_label(self) -> str:
        """The same as text, to be written on what runs; the memory is in its description."""
        gpus = {str(index): share for index, share in sorted(self.gpus.items())}
        return canonical_json({"ports": sorted(self.ports), "gpus": gpus})


def holds_of(label: Any, spec: Mapping[str, Any] | None) -> Holds:
    """What something live holds, by what is written on it.

    Containers of older releases have no such label: they are taken to hold their GPUs whole. How
    much memory something may use is in the description, of whatever release it is.

    Args:
        label: the label with what it holds, parsed, if there is one.
        spec: the label with its description, parsed, if there is one.
    """
    spec = spec or {}
    memory_bytes = int(spec.get("memory_bytes", 0))
    if isinstance(label, dict):
        gpus = {int(index): float(share) for index, share in label.get("gpus", {}).items()}
        ports = frozenset(label.get("ports", ()))
    else:
        gpus = dict.fromkeys(spec.get("gpus", ()), 1.0)
        ports = frozenset(int(port["host_port"]) for port in spec.get("ports", ()))
    return Holds(ports=ports, gpus=gpus, memory_bytes=memory_bytes)


Runs = Annotated[ContainerSpec | LaunchdSpec | SystemdSpec, Field(discriminator="kind")]


class Unit(Part):
    """What runs on one host for a deployment, with everything that it needs there."""

    host: str
    tier: Tier
    serves: str
    """What it answers for, e.g. a model: units that serve the same stand in for each other."""
    runs: Runs
    """A container, or a service of the host."""
    start_timeout_seconds: int
    """How long it may take until it is healthy."""
    image_name: str | None = None
    """Name of its image in the catalogue; ``None`` where it needs none, and no Docker."""
    program: HostProgram | None = None
    """The program that must be on the host; ``None`` where it is in the image."""
    config: ConfigTree | None = None
    model_file: HostModelFile | None = None
    draft_file: HostModelFile | None = None
    """The model that drafts tokens, where that is a file of its own."""
    weights: tuple[HostWeights, ...] = ()
    """What must be in the cache that it loads its model from."""
    compiled: CompileCache | None = None
    """What it compiles, where that can be carried to the replicas of another host."""
    models: tuple[StoredModel, ...] = ()
    """What must be in its engine's store once it runs: it has one for all of them."""
    gpu_shares: dict[int, float] = Field(default_factory=dict)
    """Shares of GPU memory that it takes, by the GPU's index."""
    data_file: DataFile | None = None
    """What says whether its data can be read by the wanted version."""
    is_stateful: bool = False
    """Whether its volumes hold what people would miss."""
    route: Route | None = None
    """How requests come to it, if they can be kept away."""
    needs: str = ""
    """Name of another unit of its host that it does not become healthy without."""
    replica: str = ""
    """What it is one of several units of, on several hosts: they work together or not at all."""
    drain_seconds: int = 0
    """How long answers that have begun may go on before it is replaced."""

    @property
    def name(self) -> str:
        """Its name on the host."""
        return self.runs.name

    @property
    def container(self) -> ContainerSpec:
        """The container; for those who deal with containers alone."""
        if not isinstance(self.runs, ContainerSpec):
            raise TypeError(f"{self.name} runs as a {self.runs.noun}")
        return self.runs

    @property
    def gives_way(self) -> bool:
        """Whether a new one starts beside it before it ends."""
        return isinstance(self.runs, ContainerSpec) and self.runs.gives_way

    @property
    def holds(self) -> Holds:
        """What only it can have on its host while it runs."""
        ports = frozenset(port for _, port in self.runs.listens)
        return Holds(ports=ports, gpus=self.gpu_shares, memory_bytes=self.runs.memory_bytes)

    @property
    def model_files(self) -> tuple[HostModelFile, ...]:
        """Every model file that must be on its host."""
        stored = (model.file for model in self.models)
        return tuple(file for file in (self.model_file, self.draft_file, *stored) if file)

    @property
    def volumes(self) -> tuple[str, ...]:
        """Names of its volumes."""
        return self.runs.volumes

    def marks(self, deployment: str) -> Marks:
        """What is written on it."""
        return Marks(deployment, self.holds.to_label())

    def create_arguments(self, deployment: str, digest: SecretDigest) -> list[str]:
        """The arguments that create what runs: no secrets, and not its name.

        Args:
            deployment: name of the deployment.
            digest: makes digests of secrets.
        """
        return self.runs.create_arguments(self.marks(deployment), digest)
