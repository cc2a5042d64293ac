"""How often an engine hung and was started again, as it wrote down itself."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from deploy.services.hang_watch import PROGRAM, REPORT


@dataclass(frozen=True)
class Hangs:
    """Since its container was made."""

    times: int
    at: str
    """When it did last, e.g. ``2026-11-29T00:40:12+00:00``."""
    why: str
    """What was seen then."""


def read_hangs(container: Container) -> Hangs | None:
    """What the watch of an engine wrote; ``None`` where it never hung, or is not watched."""
    command = container.attrs["Config"].get("Cmd") or ()
    if not any(str(part).endswith(PROGRAM) for part in command):
        return None
    try:
        chunks, _ = container.get_archive(str(REPORT))
    except (NotFound, APIError):
        return None
    return _parse(b"".join(chunks))


def _parse(archive: bytes) -> Hangs | None:
    """The report in an archive; a broken one must not hide everything else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            file = files.extractfile(files.getmembers()[0])
            said: dict[str, Any] = json.loads(file.read()) if file else {}
        return Hangs(int(said["times"]), str(said["at"]), str(said["why"]))
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError):
        return None
