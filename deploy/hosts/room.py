"""Whether everything that is to come fits on the file systems that it goes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploy.hosts.downloads import Download
from deploy.hosts.finding import Finding
from deploy.hosts.state import FileSystem, HostState, Place
from deploy.images import ImageUse, image_need
from deploy.images.reference import familiar
from deploy.services import Component, HostModelFile
from deploy.spec import HostSpec
from deploy.units import GIB, MIB

PULLED_BYTES = 2 * GIB
"""At least so much for images whose size is not known."""
SPARE_BYTES: dict[Place, int] = {"images": 256 * MIB, "directory": 8 * MIB, "temporary files": MIB}
"""What a file system must have free even if nothing is to come: logs, layers, configuration."""
SPARE_INODES = 1000
FIXES: dict[Place, str] = {
    "images": "move Docker's data to a larger disk (data-root in docker_settings)",
    "directory": "declare another directory for the host, on a larger disk",
}


@dataclass(frozen=True)
class Need:
    """Something that is to come."""

    what: str
    place: Place
    size_bytes: int


def room_needs(
    spec: HostSpec, components: Iterable[Component], images: Iterable[ImageUse], found: HostState
) -> Iterator[Need]:
    """What is to come to a host: images, archives of images, model files, models of engines.

    Args:
        spec: the host as declared.
        components: what is to run on it.
        images: the images of those.
        found: what it is like: what is there already needs no more room.
    """
    yield from _of_images(spec, images, found)
    components = list(components)
    for file in dict.fromkeys(c.model_file for c in components if c.model_file):
        yield from _of_model_file(file, found)
    for component in components:
        yield from _of_store(component, found)


def _of_images(spec: HostSpec, images: Iterable[ImageUse], found: HostState) -> Iterator[Need]:
    missing = [use for use in images if familiar(use.image.reference) not in found.images]
    needs = [need for use in missing if (need := image_need(use, is_local=spec.is_local))]
    for need in needs:
        yield Need(need.reference, "images", need.image_bytes)
    if len(needs) < len(missing):
        yield Need("other images, at least", "images", PULLED_BYTES)
    if needs:
        # archives come one after the other, and Docker unpacks each beside its images
        largest = max(need.image_bytes for need in needs)
        yield Need("unpacking the largest image", "images", largest)
        archive = max(need.archive_bytes for need in needs)
        yield Need("the largest archive of an image", "directory", archive)


def _of_model_file(file: HostModelFile, found: HostState) -> Iterator[Need]:
    for part, path in file.parts:
        there = found.file_sizes.get(str(path), 0)
        if there != part.size_bytes:
            # what arrived of it is gone on with
            arrived = found.file_sizes.get(f"{path}.part", 0)
            yield Need(path.name, "directory", max(part.size_bytes - there - arrived, 0))


def _of_store(component: Component, found: HostState) -> Iterator[Need]:
    """An engine that keeps models in a store of its own has a second copy of the file."""
    file, model = component.model_file, component.model
    if file is None or model is None:
        return
    is_new = any(str(path) not in found.file_sizes for _, path in file.parts)
    if is_new or model.volume not in found.daemon.volumes:
        yield Need(f"{model.name} in {model.volume}", "volumes", file.source.size_bytes)


def stores(components: Iterable[Component], downloads: Iterable[Download]) -> set[str]:
    """The volumes whose presence decides whether models are still to come."""
    created = {c.model.volume for c in components if c.model and c.model_file}
    return created.union(*(download.volumes for download in downloads))


def download_needs(downloads: Iterable[Download], found: HostState) -> Iterator[Need]:
    """Weights that engines have not fetched yet."""
    for download in downloads:
        if not download.volumes & found.daemon.volumes:
            yield Need(f"{download.what}, about", "volumes", download.size_bytes)


def room_findings(found: HostState, needs: Iterable[Need]) -> Iterator[Finding]:
    """One finding for each file system that something is kept on."""
    wanted = [need for need in needs if need.size_bytes]
    devices: dict[str, list[Place]] = {}
    for place, system in found.file_systems.items():
        devices.setdefault(system.device, []).append(place)
    for places in devices.values():
        system = found.file_systems[places[0]]
        yield _room(system, places, [need for need in wanted if need.place in places])
        if system.free_inodes is not None and system.free_inodes < SPARE_INODES:
            yield Finding(
                "disk",
                "problem",
                f"room for {system.free_inodes} more files on {_name(system, places)}",
                f"at least {SPARE_INODES} (df -i)",
                "remove files that nobody needs",
            )


def _room(system: FileSystem, places: list[Place], needs: list[Need]) -> Finding:
    spare = max(SPARE_BYTES.get(place, 0) for place in places)
    needed = max(sum(need.size_bytes for need in needs), spare)
    free = f"{size_text(system.free_bytes)} free on {_name(system, places)}"
    if system.free_bytes >= needed:
        return Finding("disk", "ok", free)
    rows = "".join(f"\n      {need.what}: {size_text(need.size_bytes)}" for need in needs)
    others = [FIXES[place] for place in places if place in FIXES]
    return Finding(
        "disk",
        "problem",
        free,
        f"at least {size_text(needed)}{rows}",
        "; or ".join(["free some, e.g. docker image prune --all", *others]),
    )


def _name(system: FileSystem, places: list[Place]) -> str:
    return f"{system.mount} ({', '.join(places)})"


def size_text(size_bytes: int) -> str:
    """A size as people read it, e.g. ``1.5 GiB`` or ``120 MiB``."""
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"
