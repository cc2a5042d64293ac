"""Shell scripts that run on hosts."""

import re
from pathlib import Path

INCLUDE = re.compile(r"^\. (\w+\.sh)$", re.MULTILINE)
"""A line that stands for the text of another script of this folder."""


def read_script(filename: str) -> str:
    """The text of a script of this folder, with those that it includes."""
    text = (Path(__file__).parent / filename).read_text(encoding="utf-8")
    return INCLUDE.sub(lambda line: read_script(line[1]), text)
