"""Large files on this machine that hosts are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LocalFile:
    """A file: where it is, how large it is, and its digest."""

    path: Path
    size_bytes: int
    sha256: str
