"""Archives of images, as ``docker image save`` writes them: what is in one, and is it whole."""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from deploy.errors import InventoryFileError, Problem
from deploy.images.reference import familiar
from deploy.local_file import LocalFile, user_cache, write_note
from deploy.units import MIB

SUMS = "SHA256SUMS"
"""Digests of the archives beside it, as sha256sum writes them."""
NAME = "io.containerd.image.name"
"""Annotation of an OCI index with an image's whole reference."""
LISTS = ("manifest.json", "index.json")
CHUNK_BYTES = MIB


@dataclass(frozen=True)
class ImageArchive:
    """An archive and the images in it."""

    file: LocalFile
    unpacked_bytes: int
    """Size of what is in it."""
    images: dict[str, list[str]]
    """By reference: the ids that an engine may give the image."""

    def ids(self, reference: str) -> list[str]:
        """The ids of an image; empty if it is not in there."""
        return self.images.get(familiar(reference), [])


def read_archive(path: Path, setting: str) -> ImageArchive:
    """Read an archive from its beginning to its end; again only when it has changed.

    Args:
        path: the archive.
        setting: where it is declared.

    Raises:
        InventoryFileError: if it cannot be read, or is not an archive of images.
    """
    try:
        status = path.stat()
        archive = _remembered(path.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        found = f"cannot read {path}: {error.strerror or error}"
        raise InventoryFileError(
            Problem(setting, found, fix="give the path of an archive of docker image save")
        ) from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise InventoryFileError(
            Problem(
                setting,
                f"{path} is not an archive of images, or a part of one: {error}",
                "what docker image save writes, as it is or compressed with gzip, bzip2 or xz",
                "copy it again, or make it again: atelier images INVENTORY --save DIRECTORY",
            )
        ) from None
    _compare_with_sums(archive, setting)
    return archive


@cache
def _remembered(path: Path, size: int, changed: int) -> ImageArchive:
    """What an archive holds, from what was written down when it was read first."""
    key = hashlib.sha256(f"{path}\n{size}\n{changed}".encode()).hexdigest()
    note = user_cache() / "archives" / f"{key[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text(encoding="utf-8"))
        file = LocalFile(path, size, known["sha256"])
        return ImageArchive(file, known["unpacked_bytes"], known["images"])
    archive = _read(path, size)
    write_note(note, asdict(archive) | {"file": str(path), "sha256": archive.file.sha256})
    return archive


class _Hashing:
    """A file whose digest is worked out while somebody else reads it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def _read(path: Path, size: int) -> ImageArchive:
    lists: dict[str, Any] = {}
    unpacked = 0
    with path.open("rb") as opened:
        file = _Hashing(opened)
        with tarfile.open(fileobj=file, mode="r|*") as archive:  # type: ignore[call-overload]
            for member in archive:
                unpacked += member.size
                content = archive.extractfile(member) if member.name in LISTS else None
                if content:
                    lists[member.name] = json.load(content)
        while file.read(CHUNK_BYTES):
            pass
    images = _images(lists.get("manifest.json", []), lists.get("index.json", {}))
    if not images:
        raise ValueError("it names no image")
    return ImageArchive(LocalFile(path, size, file.sha256.hexdigest()), unpacked, images)


def _images(manifest: list[dict[str, Any]], index: dict[str, Any]) -> dict[str, list[str]]:
    """Ids by reference: of the configuration, and of the manifest where containerd keeps images."""
    ids: dict[str, list[str]] = {}
    for image in manifest:
        config = image["Config"].rsplit("/", 1)[-1].removesuffix(".json")
        for tag in image["RepoTags"] or []:
            ids.setdefault(familiar(tag), []).append(f"sha256:{config}")
    for entry in index.get("manifests", []):
        name = entry.get("annotations", {}).get(NAME)
        if name:
            ids.setdefault(familiar(name), []).append(entry["digest"])
    return ids


def _compare_with_sums(archive: ImageArchive, setting: str) -> None:
    path = archive.file.path
    sums = path.with_name(SUMS)
    if not sums.is_file():
        return
    rows = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines()]
    wanted = {row[1].lstrip("*"): row[0] for row in rows if len(row) == 2}
    if wanted.get(path.name, archive.file.sha256) != archive.file.sha256:
        raise InventoryFileError(
            Problem(
                setting,
                f"{path} is not the file that {sums} names: its sha256 is {archive.file.sha256}",
                wanted[path.name],
                "copy it again",
            )
        )
