"""How much room an image that is to come needs on a host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.images.resolve import ImageUse
from deploy.images.saved import image_size
from deploy.local_file import LocalFile


@dataclass(frozen=True)
class ImageNeed:
    """Room for one image."""

    reference: str
    image_bytes: int
    """Where Docker keeps images."""
    archive_bytes: int
    """Where its archive is put until it is loaded; archives come one after the other."""
    archive: LocalFile | None = None
    """Its archive, where there is one already."""


def archive_path(directory: PurePosixPath, archive: LocalFile) -> PurePosixPath:
    """Where an archive is put on a host until it is loaded.

    Args:
        directory: the deployment's own directory on the host.
        archive: the archive on this machine.
    """
    return directory / "images" / f"{archive.sha256}.tar"


def image_need(use: ImageUse, *, is_local: bool) -> ImageNeed | None:
    """The room that an image needs, as far as that is known before it is there.

    Args:
        use: the image.
        is_local: whether the host is this machine: nothing is copied there.

    Returns:
        ``None`` for images that are pulled, or still to be built.
    """
    reference = use.image.reference
    if use.archive:
        copied = 0 if is_local else use.archive.file.size_bytes
        return ImageNeed(reference, use.archive.unpacked_bytes, copied, use.archive.file)
    size = None if is_local or use.build is None else image_size(reference)
    # an archive is never larger than what is in it
    return None if size is None else ImageNeed(reference, size, size)
