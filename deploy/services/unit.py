"""What a service module makes: what runs, its files, and what it needs and holds on its host."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from deploy.local_file import LocalFile
from deploy.model_files import ModelFile
from deploy.services.container import ContainerSpec
from deploy.services.launchd import LaunchdSpec
from deploy.services.program import HostProgram
from deploy.services.runs import Marks, Part, SecretDigest, canonical_json
from deploy.services.systemd import SystemdSpec
from deploy.spec import SecretText
from deploy.spec.host import WeightsSource


class Tier(StrEnum):
    """The order in which services start: each tier waits for the one before, on all hosts."""

    STORE = "store"
    NODE = "node"
    """Further hosts of an engine, which wait for the one that is asked."""
    ENGINE = "engine"
    LINK = "link"
    """What takes requests of routers to engines on other hosts."""
    CONSUMER = "consumer"
    """What says which engine a request of a router is for."""
    ROUTER = "router"
    WEB_UI = "web_ui"
    CERTIFICATE = "certificate"
    ENTRY = "entry"
    MONITORING = "monitoring"

    @property
    def position(self) -> int:
        """Its place in the order, from 0."""
        return list(Tier).index(self)

    @property
    def plural(self) -> str:
        """What its services are called, e.g. ``engines``."""
        return {"web_ui": "web UIs", "entry": "entries", "monitoring": "monitoring"}.get(
            self.value, f"{self.value}s"
        )


class ConfigFile(Part):
    """A file that Atelier writes on a host."""

    content: str | SecretText
    mode: int = 0o644
    owner: int | None = None
    """Number of the user that it belongs to; root's by default."""

    @property
    def is_secret(self) -> bool:
        """Whether its content must not be shown."""
        return isinstance(self.content, SecretText)


WATCHED = "current"
"""Name of the directory of files that are watched."""


class ConfigTree(Part):
    """The configuration files of one service, in a directory named after their content.

    A changed file makes a new directory, so that a container which is rolled back to finds the
    files it was started with. A changed secret is written into the same directory. What notices
    changes by itself has one directory, whose files change, and goes on.
    """

    root: PurePosixPath
    """Directory on the host that holds every release of the files."""
    files: dict[str, ConfigFile] = Field(min_length=1)
    """By path within the release."""
    is_watched: bool = False
    """Whether what reads them notices that they have changed, and reads them again."""

    @property
    def release(self) -> str:
        """Digest of names, modes and contents, of secrets without their values."""
        if self.is_watched:
            return WATCHED
        return hashlib.sha256(
            canonical_json(self.model_dump(mode="json", exclude_none=True)["files"]).encode()
        ).hexdigest()[:16]

    @property
    def directory(self) -> PurePosixPath:
        """The directory of this release on the host."""
        return self.root / self.release


class HostModelFile(Part):
    """A model file that must be on a host."""

    source: ModelFile
    path: PurePosixPath
    """Where it is on the host; of a model in parts, where the first one is."""

    @property
    def parts(self) -> tuple[tuple[LocalFile, PurePosixPath], ...]:
        """Every file of it, and where that is on the host."""
        return tuple((part, self.path.with_name(part.path.name)) for part in self.source.parts)


class HostWeights(Part):
    """Weights of Hugging Face that must be in a cache on a host, before an engine loads them."""

    repository: str
    """Repository, e.g. ``Qwen/Qwen3-8B``."""
    revision: str
    """Branch, tag or commit."""
    cache: PurePosixPath
    """Directory of the host with the cache."""
    endpoint: str
    """Where they are fetched from."""
    source: WeightsSource
    """Whether the host fetches them, or is given them."""
    load_format: str
    """vLLM's ``--load-format``: it decides which files are needed."""
    image: str
    """Reference of the engine's image, which has the hub's client."""
    environment: dict[str, str | SecretText] = Field(default_factory=dict)
    """Variables that say how the hub is reached, e.g. through a proxy."""

    @property
    def name(self) -> str:
        """Repository and revision."""
        return f"{self.repository}@{self.revision}"

    @property
    def folder_name(self) -> str:
        """What the repository is called in the names of files."""
        return self.repository.replace("/", "--")

    @property
    def folder(self) -> PurePosixPath:
        """The repository's folder in the cache."""
        return self.cache / "hub" / f"models--{self.folder_name}"


class CompileCache(Part):
    """What an engine compiles when it first starts, and loads whenever it starts again."""

    volume: str
    """Where it is kept; the replicas of a model share it on each host."""
    directory: PurePosixPath
    """Where the volume is in the container."""
    gpus: tuple[str, ...]
    """Catalogue ids of the GPUs that it is compiled for; none of CPUs."""


MODELS_RECORD = "models-by-atelier"
"""The file in a store in which ``scripts/ollama.sh`` writes down what it has made."""


class StoredModel(Part):
    """A model that an engine keeps in a store of its own, where it is pulled to or created."""

    name: str
    """What the engine calls it, with its tag."""
    modelfile: str = ""
    """What it is created from; empty of one that is pulled by its name."""
    source: str
    """Says which weights and settings it was made from: it changes with them."""
    volume: str
    """Where it is kept; empty where that is a directory of the host."""
    home: PurePosixPath
    """Where the volume is in the container; else that directory."""
    resident: bool
    """Whether it stays loaded."""

    @property
    def record(self) -> PurePosixPath:
        """Where it is written down what Atelier made in the store, as the engine sees it."""
        return self.home / MODELS_RECORD

    def is_in(self, volumes: Collection[str], files: Collection[str]) -> bool:
        """Whether its store is there.

        Args:
            volumes: names of the volumes that the host has.
            files: paths of the files that the host has, of those that were asked for.
        """
        return self.volume in volumes if self.volume else str(self.record) in files


class DataFile(Part):
    """A file among the data of a service that says which version wrote them."""

    path: PurePosixPath
    """Where it is in the container."""
    volume: str
    """Name of the volume that it is in."""
    volume_path: PurePosixPath
    """Where it is in the volume."""
    wanted: str | None
    """What must stand in it; empty if that is not known, ``None`` if it must not be there."""
    refusal: str
    """What is wrong otherwise, with ``{found}`` for what stands in it."""
    allowed: str
    """What should be there instead."""
    fix: str
    """What an operator does then."""

    def is_right(self, found: str) -> bool:
        """Whether the wanted version reads the data.

        Args:
            found: what stands in the file; empty if it is not there.
        """
        return not found or self.wanted in {"", found}


class Route(Part):
    """How requests come to a unit, and how they are kept away while it is replaced."""

    host: str
    """Name of the host that they are sent from."""
    directory: PurePosixPath
    """Directory of that host where it is written down who gets none, and until when."""
    names: tuple[str, ...]
    """What the unit is called there."""
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

    def to_label(self) -> str:
        """The same as text, to be written on what runs."""
        gpus = {str(index): share for index, share in sorted(self.gpus.items())}
        return canonical_json({"ports": sorted(self.ports), "gpus": gpus})


def holds_of(label: Any, spec: Mapping[str, Any] | None) -> Holds:
    """What something live holds, by what is written on it.

    Containers of older releases have no such label: they are taken to hold their GPUs whole.

    Args:
        label: the label with what it holds, parsed, if there is one.
        spec: the label with its description, parsed, if there is one.
    """
    if isinstance(label, dict):
        gpus = {int(index): float(share) for index, share in label.get("gpus", {}).items()}
        return Holds(ports=frozenset(label.get("ports", ())), gpus=gpus)
    spec = spec or {}
    ports = frozenset(int(port["host_port"]) for port in spec.get("ports", ()))
    return Holds(ports=ports, gpus=dict.fromkeys(spec.get("gpus", ()), 1.0))


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
    model: StoredModel | None = None
    """What must be in its engine's store once the container runs."""
    gpu_shares: dict[int, float] = Field(default_factory=dict)
    """Shares of GPU memory that it takes, by the GPU's index."""
    data_file: DataFile | None = None
    """What says whether its data can be read by the wanted version."""
    is_stateful: bool = False
    """Whether its volumes hold what people would miss."""
    route: Route | None = None
    """How requests come to it, if they can be kept away."""
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
    def holds(self) -> Holds:
        """What only it can have on its host while it runs."""
        ports = frozenset(port for _, port in self.runs.listens)
        return Holds(ports=ports, gpus=self.gpu_shares)

    @property
    def model_files(self) -> tuple[HostModelFile, ...]:
        """Every model file that must be on its host."""
        return tuple(file for file in (self.model_file, self.draft_file) if file)

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
