"""Whether everything that is to come fits on the file systems that it goes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.hosts.finding import Finding
from deploy.hosts.state import FileSystem, HostState, Place
from deploy.hosts.subject import Subject
from deploy.images import ImageNeed, archive_path, image_need
from deploy.images.reference import familiar
from deploy.services import StoredModel, Unit
from deploy.units import GIB, MIB

PULLED_BYTES = 2 * GIB
"""At least so much for images whose size is not known."""
SPARE_BYTES: dict[Place, int] = {"images": 256 * MIB, "directory": 8 * MIB, "temporary files": MIB}
"""What a file system must have free even if nothing is to come: logs, layers, configuration."""
UNPACKED = 5
"""An archive of a program, compressed, and what is unpacked of it."""
SPARE_INODES = 1000
MOVING_BYTES = 256 * MIB
"""So much may come or go between two questions about one file system."""
FIXES: dict[Place, str] = {
    "images": "move Docker's data to a larger disk (data-root in docker_settings)",
    "directory": "declare another directory for the host, on a larger disk",
    "weights": "declare another huggingface_cache, on a larger disk",
    "temporary files": "remove files that are not needed from there, or make it larger",
}


OF_CONTAINERD = "move containerd's data to a larger disk (root in /etc/containerd/config.toml)"
"""What to do where containerd keeps the images, which data-root does not move."""


@dataclass(frozen=True)
class Need:
    """Something that is to come."""

    what: str
    place: Place
    size_bytes: int


def room_needs(subject: Subject, found: HostState) -> Iterator[Need]:
    """What is to come to a host: images, their archives, model files, models of engines.

    Args:
        subject: the host, and what is to run on it.
        found: what it is like: what is there already needs no more room.
    """
    yield from _of_images(subject, found)
    for file in subject.model_files:
        for part, path in file.parts:
            yield Need(path.name, "directory", _to_come(part.size_bytes, path, found))
    for program in subject.programs:
        archive = program.archive.file if program.archive else None
        if archive and str(program.path) not in found.file_sizes:
            yield Need(program.title, "directory", archive.size_bytes * UNPACKED)
    for unit in subject.units:
        yield from _of_store(unit, found)
    stores = {unit.name: unit.models[0] for unit in subject.units if unit.models}
    for download in subject.downloads:
        if not _is_there(download.volume, stores.get(download.volume), found):
            yield Need(f"{download.what}, about", "volumes", download.size_bytes)


def _is_there(volume: str, store: StoredModel | None, found: HostState) -> bool:
    """Whether an engine has run and fetched its weights: into a volume, or a directory."""
    if store is None:
        return volume in found.daemon.volumes
    return store.is_in(found.daemon.volumes, found.file_sizes)


def _of_images(subject: Subject, found: HostState) -> Iterator[Need]:
    missing = [use for use in subject.images if familiar(use.image.reference) not in found.images]
    needs = [need for use in missing if (need := image_need(use, is_local=subject.spec.is_local))]
    for need in needs:
        yield Need(need.reference, "images", need.image_bytes)
    if len(needs) < len(missing):
        yield Need("other images, at least", "images", PULLED_BYTES)
    if needs:
        # archives come one after the other, and Docker unpacks each next to its images
        largest = max(need.image_bytes for need in needs)
        yield Need("unpacking the largest image", "images", largest)
        archives = [_of_archive(need, subject, found) for need in needs]
        yield Need("the largest archive of an image", "directory", max(archives))


def _of_archive(need: ImageNeed, subject: Subject, found: HostState) -> int:
    if need.archive is None or not need.archive_bytes:
        return need.archive_bytes
    path = archive_path(subject.directory, need.archive)
    return _to_come(need.archive_bytes, path, found)


def _to_come(size_bytes: int, path: PurePosixPath, found: HostState) -> int:
    """What is missing of a file: what arrived of it is gone on with."""
    there = found.file_sizes.get(str(path), 0)
    if there == size_bytes:
        return 0
    return max(size_bytes - there - found.file_sizes.get(f"{path}.part", 0), 0)


def _of_store(unit: Unit, found: HostState) -> Iterator[Need]:
    """An engine that keeps models in a store of its own has a second copy of each file."""
    for model in unit.models:
        file = model.file
        if file is None:
            continue
        is_new = any(str(path) not in found.file_sizes for _, path in file.parts)
        if is_new or not model.is_in(found.daemon.volumes, found.file_sizes):
            yield Need(
                f"{model.name} in {model.volume or model.home}", "volumes", file.source.size_bytes
            )


def room_findings(found: HostState, needs: Iterable[Need]) -> Iterator[Finding]:
    """One finding for each file system that something is kept on, and for each full pool."""
    wanted = [need for need in needs if need.size_bytes]
    pools: dict[str, list[list[Place]]] = {}
    for places in _alike(_own(found)):
        system = found.file_systems[places[0]]
        pools.setdefault(system.pool or system.device, []).append(places)
    for together in pools.values():
        rooms = [_room(found, places, wanted) for places in together]
        yield from rooms
        every = [place for places in together for place in places]
        if len(together) > 1 and all(room.status == "ok" for room in rooms):
            yield from (room for room in [_room(found, every, wanted)] if room.status != "ok")
        for places in together:
            yield from _inodes(found.file_systems[places[0]], places)


def _own(found: HostState) -> dict[Place, FileSystem]:
    """The places that are on file systems of the host itself."""
    of_docker = {"images", "volumes"} if found.daemon.is_apart else set()
    return {place: system for place, system in found.file_systems.items() if place not in of_docker}


def _alike(systems: dict[Place, FileSystem]) -> list[list[Place]]:
    """Places on one file system; with a quota (of a project) some have less of it than others."""
    groups: list[list[Place]] = []
    for place, system in systems.items():
        for group in groups:
            other = systems[group[0]]
            apart = abs(system.free_bytes - other.free_bytes)
            if system.device == other.device and apart <= MOVING_BYTES:
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _inodes(system: FileSystem, places: list[Place]) -> Iterator[Finding]:
    if system.free_inodes is not None and system.free_inodes < SPARE_INODES:
        yield Finding(
            "disk",
            "problem",
            f"room for {system.free_inodes} more files on {system.mount} ({', '.join(places)})",
            f"at least {SPARE_INODES} (df -i)",
            "remove files that are not needed",
        )


def _room(found: HostState, places: list[Place], wanted: list[Need]) -> Finding:
    """Whether places have room, which share what the roomiest of them has."""
    systems = [found.file_systems[place] for place in places]
    system = max(systems, key=lambda each: each.free_bytes)
    needs = [need for need in wanted if need.place in places]
    spare = max(SPARE_BYTES.get(place, 0) for place in places)
    needed = max(sum(need.size_bytes for need in needs), spare)
    mounts = " and ".join(dict.fromkeys(each.mount for each in systems))
    free = f"{size_text(system.free_bytes)} free on {mounts} ({', '.join(places)})"
    if system.free_bytes >= needed:
        return Finding("disk", "ok", free)
    rows = "".join(f"\n      {need.what}: {size_text(need.size_bytes)}" for need in needs)
    own = found.daemon.has_containerd_images and not found.daemon.is_rootless
    texts = FIXES | ({"images": OF_CONTAINERD} if own else {})
    fixes = [texts[place] for place in places if place in texts]
    if {"images", "volumes"} & {*places}:
        fixes.insert(0, "free some, e.g. docker image prune --all")
    return Finding(
        "disk",
        "problem",
        free,
        f"at least {size_text(needed)}{rows}",
        "; or ".join(fixes),
    )


def size_text(size_bytes: int) -> str:
    """A size as people read it, e.g. ``1.5 GiB`` or ``120 MiB``."""
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"
