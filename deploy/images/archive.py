"""Archives of images, as ``docker image save`` writes them: what is in one, and is it whole."""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from deploy.errors import InventoryFileError, Problem
from deploy.images.reference import familiar
from deploy.local_file import LocalFile, user_cache, write_note
from deploy.units import MIB

SUMS = "SHA256SUMS"
"""Digests of the archives next to it, as sha256sum writes them."""
NAME = "io.containerd.image.name"
"""Annotation of an OCI index with an image's whole reference."""
LISTS = ("manifest.json", "index.json")
CHUNK_BYTES = MIB
LARGEST_JSON_BYTES = 4 * MIB


@dataclass(frozen=True)
class ImageArchive:
    """An archive and the images in it."""

    file: LocalFile
    unpacked_bytes: int
    """Size of what is in it."""
    images: dict[str, list[str]]
    """By reference: the ids that Docker may give the image."""
    architectures: dict[str, list[str]] = field(default_factory=dict)
    """By reference: what it runs on, e.g. ``amd64``; nothing where the archive does not say."""

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
        return ImageArchive(file, known["unpacked_bytes"], known["images"], known["architectures"])
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
    documents: dict[str, Any] = {}
    unpacked = 0
    with path.open("rb") as opened:
        file = _Hashing(opened)
        with tarfile.open(fileobj=file, mode="r|*") as archive:  # type: ignore[call-overload]
            for member in archive:
                unpacked += member.size
                content = archive.extractfile(member) if _may_be_json(member) else None
                if content:
                    documents |= _parse(member.name, content.read())
        while file.read(CHUNK_BYTES):
            pass
    images = _images(documents.get("manifest.json", []), documents.get("index.json", {}))
    if not images:
        raise ValueError("it names no image")
    known = {reference: _architectures(ids, documents) for reference, ids in images.items()}
    return ImageArchive(LocalFile(path, size, file.sha256.hexdigest()), unpacked, images, known)


def _may_be_json(member: tarfile.TarInfo) -> bool:
    """Whether it may be a list of images, or say what one is for; layers are larger."""
    return member.isfile() and (member.name in LISTS or member.size <= LARGEST_JSON_BYTES)


def _parse(name: str, text: bytes) -> dict[str, Any]:
    """A document by its name, or by its digest; nothing of a file that is no JSON."""
    if name in LISTS:
        return {name: json.loads(text)}
    if not text.startswith(b"{"):
        return {}
    with suppress(ValueError):
        return {name.rpartition("/")[2].removesuffix(".json"): json.loads(text)}
    return {}


def _architectures(ids: list[str], documents: dict[str, Any]) -> list[str]:
    """What an image runs on, from its configuration, through manifests and lists of those."""
    found: set[str] = set()
    for image_id in ids:
        document = documents.get(image_id.removeprefix("sha256:"), {})
        if isinstance(document.get("architecture"), str):
            found.add(document["architecture"])
        parts = [document.get("config", {}), *document.get("manifests", [])]
        digests = [part["digest"] for part in parts if "digest" in part]
        found.update(_architectures(digests, documents))
    return sorted(found - {"unknown"})


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
