"""Shell scripts that run on hosts."""

from pathlib import Path


def read_script(filename: str) -> str:
    """The text of a script of this folder."""
    return (Path(__file__).parent / filename).read_text(encoding="utf-8")
