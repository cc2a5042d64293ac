"""The files of one commit of a repository, as the hub lists them.

The answer of ``GET /api/models/<repository>/revision/<revision>?blobs=true``, which
``huggingface_hub.HfApi.model_info(files_metadata=True)`` asks for:
https://huggingface.co/docs/hub/api. A file is kept under the name that the hub's own client gives
it, too: the SHA-256 of a large file (LFS), the git object id of another
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

COMMIT = re.compile(r"[0-9a-f]{40}")
GIT_ID = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """One file of a repository."""

    path: str
    """Where it is in the repository."""
    size_bytes: int
    blob: str
    """What it is kept as: a SHA-256, or the git object id of a small file."""


@dataclass(frozen=True)
class Listing:
    """What a revision of a repository consists of."""

    repository: str
    commit: str
    """The commit that the revision stands for."""
    files: tuple[HubFile, ...]

    @property
    def size_bytes(self) -> int:
        """Size of everything: files with the same content are kept once."""
        return sum({file.blob: file.size_bytes for file in self.files}.values())


def listing_url(endpoint: str, repository: str, revision: str) -> str:
    """Where the hub lists the files of a revision."""
    return f"{endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"


def file_url(endpoint: str, repository: str, commit: str, path: str) -> str:
    """Where a file is fetched from."""
    return f"{endpoint}/{repository}/resolve/{commit}/{quote(path)}"


def parse_listing(repository: str, text: str) -> Listing:
    """The hub's answer as a value.

    Raises:
        ValueError: if it is not such an answer, e.g. a page of a proxy that asks for a login.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or not isinstance(data.get("siblings"), list):
        raise ValueError("no list of files")
    commit = str(data.get("sha"))
    if not COMMIT.fullmatch(commit):
        raise ValueError("no commit")
    files = tuple(_file(row) for row in data["siblings"])
    return Listing(repository, commit, tuple(sorted(files, key=lambda file: file.path)))


def _file(row: Any) -> HubFile:
    path, large = str(row["rfilename"]), row.get("lfs") or {}
    blob = str(large["sha256"] if large else row["blobId"])
    size = int(large["size"] if large else row["size"])
    # paths and names are used on file systems: what came over the network is not trusted
    parts = PurePosixPath(path).parts
    if not path.isprintable() or path.startswith("/") or {"..", "."} & set(path.split("/")):
        raise ValueError(f"the path {path!r}")
    if not parts or size < 0 or not (SHA256 if large else GIT_ID).fullmatch(blob):
        raise ValueError(f"what it says of {path!r}")
    return HubFile(path, size, blob)
