"""What a service module makes: files, a container, and what they need."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import PurePosixPath

from pydantic import Field

from deploy.local_file import LocalFile
from deploy.model_files import ModelFile
from deploy.services.container import ContainerSpec, Part, canonical_json


class Tier(StrEnum):
    """The order in which services start: each tier waits for the one before, on all hosts."""

    ENGINE = "engine"
    ROUTER = "router"
    WEB_UI = "web_ui"


class ConfigFile(Part):
    """A file that Atelier writes on a host."""

    content: str
    mode: int = 0o644


class ConfigTree(Part):
    """The configuration files of one service, in a directory named after their content.

    A changed file makes a new directory, so that a container which is rolled back to finds the
    files it was started with.
    """

    root: PurePosixPath
    """Directory on the host that holds every release of the files."""
    files: dict[str, ConfigFile] = Field(min_length=1)
    """By name within the release."""

    @property
    def release(self) -> str:
        """Digest of names, modes and contents."""
        return hashlib.sha256(
            canonical_json(self.model_dump(mode="json")["files"]).encode()
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


class StoredModel(Part):
    """A model that an engine keeps in a store of its own, where it is pulled to or created."""

    name: str
    """What the engine calls it, with its tag."""
    modelfile: str = ""
    """What it is created from; empty of one that is pulled by its name."""
    source: str
    """Says which weights and settings it was made from: it changes with them."""
    volume: str
    """Where it is kept."""
    home: PurePosixPath
    """Where the volume is in the container."""
    resident: bool
    """Whether it stays loaded."""


class Component(Part):
    """One container of a deployment with everything it needs on its host."""

    host: str
    tier: Tier
    container: ContainerSpec
    start_timeout_seconds: int
    """How long the container may take until it is healthy."""
    image_name: str
    """Name of its image in the catalogue."""
    config: ConfigTree | None = None
    model_file: HostModelFile | None = None
    model: StoredModel | None = None
    """What must be in its engine's store once the container runs."""
