"""What a service has on its host next to what runs: files, models, weights, caches, stored data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import PurePosixPath

from pydantic import Field

from deploy.local_file import LocalFile
from deploy.model_files import ModelFile
from deploy.services.runs import Part, canonical_json
from deploy.spec import SecretText
from deploy.spec.host import WeightsSource


class ConfigFile(Part):
    """A file that Atelier writes on a host."""

    content: str | SecretText
    mode: int = 0o644
    owner: str | None = None
    """Account of the host that it belongs to; root's by default."""

    @property
    def is_secret(self) -> bool:
        """Whether its content must not be shown."""
        return isinstance(self.content, SecretText)


WATCHED, NEW = "current", ".new"
"""Names of the directory of files that are watched, and of the one that takes its place."""


class Watch(Part):
    """What reads its files again when they have changed: commands where it runs."""

    check: tuple[str, ...]
    """Fails where the files in the new directory would not be taken."""
    wait: tuple[str, ...]
    """Ends when those that are there are taken."""


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
    watch: Watch | None = None
    """Of what notices by itself that they have changed, and reads them again."""

    @property
    def release(self) -> str:
        """Digest of names, modes and contents, of secrets without their values."""
        if self.watch:
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
    file: HostModelFile | None = None
    """What it is created from, on the host; ``None`` of one that is pulled."""

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
