"""Models that an inventory can name."""

from __future__ import annotations

from pathlib import Path

from deploy.catalog.entry import DIRECTORY, Entry


class Model(Entry):
    """One model of the catalogue."""

    description: str
    """What it is, in a line."""
    file: str
    """Name of the GGUF file below ``catalog/models``."""
    sha256: str
    """Digest of that file."""
    max_model_len: int
    """Context length in tokens."""
    licence: str
    """Licence of the weights."""
    source: str
    """Where they come from."""
    known_answer: str | None = None
    """Text that its completion of ``def fib(n):`` is known to contain, where that is known."""

    @property
    def path(self) -> Path:
        """The file on this machine."""
        return DIRECTORY / "models" / self.file
