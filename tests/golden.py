"""Files that say, word for word, what something looked like when it was last looked at."""

from __future__ import annotations

import os
from pathlib import Path

REWRITE = "UPDATE_GOLDEN"
"""Set by ``make golden``: files are written anew instead of compared."""


def assert_golden(path: Path, text: str) -> None:
    """Compare with a file; ``make golden`` writes it."""
    if REWRITE in os.environ:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        f"if it is meant to change: make golden ({path.name})"
    )
