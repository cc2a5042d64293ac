"""Container images and the root file systems they are built on."""

from __future__ import annotations

from deploy.catalog.entry import Entry


class BaseImage(Entry):
    """A root file system made from a distribution's packages."""

    suite: str
    """Suite of the Debian archive, e.g. ``bookworm``."""
    packages: tuple[str, ...]
    """Packages installed apart from the minimal system."""
    check_valid_until: bool = True
    """Whether the archive's expiry date is checked."""


class ImageBuild(Entry):
    """How an image is built here, from ``templates/images/<name>``."""

    version: str
    """Version of the packaged software."""
    base: str
    """Name of the root file system in ``bases.yaml``."""
    user: str | None = None
    """Overrides the image's user for our own build."""
    read_only: bool | None = None
    """Overrides the image's ``read_only`` for our own build."""


class Image(Entry):
    """One image: upstream's, and how to build it without a registry."""

    reference: str
    """Upstream's reference, with a version."""
    digest: str = ""
    """``sha256:...`` of upstream's manifest, empty where not known."""
    licence: str
    """Licence of the packaged software."""
    source: str
    """Where upstream documents the image."""
    user: str = ""
    """User it runs as; empty for the image's own."""
    read_only: bool = False
    """Whether it runs on a read-only root file system."""
    architectures: tuple[str, ...] = ()
    """What upstream's image is published for, e.g. ``amd64``; empty where not known."""
    cuda: str = ""
    """CUDA version that upstream's image is made for, e.g. ``13.0``; empty where it has none."""
    build: ImageBuild | None = None
    """How it is built here; ``None`` for images that are only pulled."""
