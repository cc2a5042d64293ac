"""Takes types out of Prisma's generated client that only type checkers read.

For every pair of tables it has three classes: what may be included from the one when the other
is asked for. Those are 85 % of the file, and a quarter of the time that LiteLLM needs to start.
Annotations name them in quotes, so nothing looks for them. Those of a table with itself stay, as
other names stand for them.

Run: fewer-types.py FILE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAIR = re.compile(r"^class (\w+)(?:Args|Include)From(\w+)\(.*\):\n(?:(?: +.*)?\n)*", re.MULTILINE)


def main(path: Path) -> None:
    """Write the file anew.

    Raises:
        SystemExit: there is no such class, so the generator is another one.
    """
    text = path.read_text()
    fewer, pairs = PAIR.subn(kept, text)
    if not pairs:
        sys.exit(f"{path}: no types of pairs of tables are found")
    path.write_text(fewer)


def kept(pair: re.Match[str]) -> str:
    """The class of a table with itself."""
    return pair[0] if pair[1].removeprefix("FindMany") == pair[2] else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
