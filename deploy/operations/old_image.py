"""Images that a deployment brought to a host and does not need any more."""

from __future__ import annotations

from collections.abc import Collection

from pyinfra import host

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.facts.old_images import BroughtImage, OldImages
from deploy.images.reference import familiar
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.image_source import SCRIPT, ImagePlace
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand
from deploy.units import MB


@changes_host
def removed(wanted: Collection[str], place: ImagePlace) -> Commands:
    """Of what this deployment brought, the host has only images that it or a container uses.

    Args:
        wanted: references of the images that the deployment uses.
        place: where images are written down.
    """
    brought = host.get_fact(OldImages, record=place.record)
    kept = {familiar(reference) for reference in wanted}
    old = [image for image in brought if not image.is_used and not _is_wanted(image, kept)]
    announce_all(
        Change(
            f"image {image.reference}",
            "remove",
            (FieldChange("size", f"{image.size_bytes / MB:.0f} MB", ABSENT),),
        )
        for image in old
    )
    if old:
        pairs = [part for image in old for part in (image.reference, image.id)]
        yield ScriptCommand(SCRIPT, "remove", place.record, *pairs, redact=str, progress="removing")


def _is_wanted(image: BroughtImage, kept: Collection[str]) -> bool:
    """Whether it is what a wanted reference stands for now."""
    name = familiar(image.reference)
    return name in kept and (name in image.tags or "@" in name)
