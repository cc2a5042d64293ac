"""Images of this machine's Docker as archives that hosts load.

An archive is kept under its image's id: a copy that was cut goes on with the same bytes.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import IO

from deploy.errors import ImageBuildError, Problem
from deploy.images.builder import Report
from deploy.local_file import LocalFile, read_local_file, user_cache
from deploy.units import GIB, MB, MIB

CACHE_LIMIT_BYTES = 20 * GIB
"""Archives of more than this are kept no longer than they are needed: the oldest go first."""
COMPRESS = ("gzip", "-1", "-n")
"""Every engine loads it. LiteLLM's image: 948 MB in 12 s to 341 MB, with -6 in 41 s to 304 MB;
zstd would be faster, but Docker 20.10 does not load it."""
CHUNK_BYTES = MIB


def cache_directory() -> Path:
    """Where this user's archives are kept."""
    return user_cache() / "images"


def engine_problem() -> str:
    """Why this machine's Docker cannot be used; empty if it can."""
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True
        )
    except FileNotFoundError:
        return "docker is not installed on this machine"
    return asked.stderr.strip() if asked.returncode else ""


@cache
def build_architecture() -> str:
    """What images that are built on this machine run on; empty if Docker does not say."""
    return _client("version", "--format", "{{.Server.Arch}}") or ""


@cache
def was_built(tag: str) -> bool:
    """Whether this machine had an image when it was asked first, before anything was built."""
    return image_id(tag) is not None


def image_id(tag: str) -> str | None:
    """Id of an image of this machine."""
    return _inspect(tag, "{{.Id}}")


def image_size(tag: str) -> int | None:
    """Size of an image of this machine, unpacked."""
    size = _inspect(tag, "{{.Size}}")
    return None if size is None else int(size)


def _inspect(tag: str, template: str) -> str | None:
    return _client("image", "inspect", "--format", template, tag)


def _client(*arguments: str) -> str | None:
    """What Docker's client on this machine prints; ``None`` if it fails, or there is none."""
    try:
        asked = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return None if asked.returncode else asked.stdout.strip()


def save_image(tag: str, report: Report) -> LocalFile:
    """An image of this machine as an archive; made if there is none yet.

    Args:
        tag: the image.
        report: called with a line about each step.

    Raises:
        ImageBuildError: if it cannot be saved.
    """
    found = image_id(tag)
    if found is None:
        raise _failure(tag, "this machine does not have it")
    path = cache_directory() / f"{archive_name(tag)}-{found.removeprefix('sha256:')[:16]}.tar.gz"
    if not path.exists():
        started = time.monotonic()
        write_archive(tag, path)
        size = path.stat().st_size / MB
        report(f"{tag}: saved in {time.monotonic() - started:.0f} s, {size:.0f} MB")
    # the time of its last use; when it was made stays, for its digest is remembered by that
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    _forget_oldest(path)
    return read_local_file(path)


def archive_name(tag: str) -> str:
    """A reference as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", tag)


def write_archive(tag: str, path: Path) -> None:
    """Write an image of this machine to a file, all of it or nothing.

    Raises:
        ImageBuildError: if it cannot be saved or written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            _save(tag, file)
        new.replace(path)
    except OSError as error:
        raise _failure(tag, f"cannot write {new}: {error.strerror}") from None
    finally:
        new.unlink(missing_ok=True)


def _save(tag: str, file: IO[bytes]) -> None:
    with subprocess.Popen(
        ["docker", "image", "save", tag], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as saving:
        compressed = subprocess.run(
            COMPRESS, stdin=saving.stdout, stdout=file, stderr=subprocess.PIPE
        )
        message = saving.stderr.read() if saving.stderr else b""
    if saving.returncode or compressed.returncode:
        text = (message + compressed.stderr).decode("utf-8", "replace")
        raise _failure(tag, f"docker image save failed: {text.strip()}")


def _forget_oldest(wanted: Path) -> None:
    archives = sorted(wanted.parent.glob("*.tar.gz"), key=lambda path: path.stat().st_atime)
    total = sum(path.stat().st_size for path in archives)
    for path in archives:
        if total <= CACHE_LIMIT_BYTES or path == wanted:
            return
        total -= path.stat().st_size
        path.unlink()


def _failure(tag: str, found: str) -> ImageBuildError:
    return ImageBuildError(
        Problem(f"image {tag}", found, fix="fix that and run the deployment again")
    )
