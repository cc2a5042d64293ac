"""Large files on this machine that hosts are given; each is read for its digest once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SETTLED_SECONDS = 2
"""A file that changed less than this ago may change again without its time showing it."""
AHEAD_SECONDS = 3600
"""A file server's clock may be ahead; what is further ahead was not changed just now."""
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class LocalFile:
    """A file: where it is, how large it is, and its digest."""

    path: Path
    size_bytes: int
    sha256: str


def user_cache() -> Path:
    """Where what can be worked out again is kept for this user."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "atelier"


def read_local_file(path: Path, check: Callable[[Path], None] = lambda _: None) -> LocalFile:
    """A file with its digest; it is read again only when it was changed or replaced.

    Args:
        path: where it is.
        check: looks at a file that is about to be read, and raises what is wrong with it.

    Raises:
        OSError: if it cannot be read.
    """
    status = path.stat()
    state = _state(path, status)
    note = user_cache() / "digests" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    sha256 = _known(note, state)
    if sha256 is None:
        check(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        unchanged = state == _state(path, path.stat())
        age = time.time() - status.st_mtime
        if unchanged and not -AHEAD_SECONDS <= age <= SETTLED_SECONDS:
            write_note(note, state | {"sha256": sha256})
    return LocalFile(path, status.st_size, sha256)


def write_note(path: Path, data: object) -> None:
    """Write something down in the cache, whole or not at all; a cache may fail."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            new.write_text(json.dumps(data), encoding="utf-8")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


def _state(path: Path, status: os.stat_result) -> dict[str, object]:
    """What differs when a file was changed, or another one is in its place."""
    place = {"path": str(path), "device": status.st_dev, "inode": status.st_ino}
    return place | {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _known(note: Path, state: dict[str, object]) -> str | None:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        sha256 = known.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    whole = isinstance(sha256, str) and SHA256.fullmatch(sha256)
    return str(sha256) if whole and known == state else None
