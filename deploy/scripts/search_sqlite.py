"""Runs in a container with a database of SQLite: looks for a word and for other texts in all of it.

    python3 -c TEXT DATABASE SECONDS

A line of JSON on standard input has {"word": .., "forms": [..]}: everybody may see arguments.
Prints a line of JSON for each table: {"table", "rows", "marks": ["NNN"], "forms": [N], "whole"}.
Only the standard library is used.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from typing import Any


def search_table(
    connection: sqlite3.Connection, table: str, asked: dict[str, Any], until: float
) -> dict[str, Any]:
    """What is in one table."""
    mark = re.compile(re.escape(asked["word"]) + "([0-9a-f]{3})")
    marks: set[str] = set()
    forms: set[int] = set()
    rows, whole = 0, True
    name = table.replace('"', '""')
    for row in connection.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - its own table
        for value in row:
            if isinstance(value, (str, bytes)):
                text = value if isinstance(value, str) else value.decode("utf-8", "replace")
                marks.update(mark.findall(text))
                numbered = enumerate(asked["forms"])
                forms.update(number for number, form in numbered if form in text)
        rows += 1
        if time.monotonic() > until:
            whole = False
            break
    found = {"marks": sorted(marks), "forms": sorted(forms)}
    return {"table": table, "rows": rows, "whole": whole, **found}


def main(path: str, seconds: str) -> None:
    """Search every table."""
    asked = json.loads(sys.stdin.readline())
    until = time.monotonic() + float(seconds)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in names:
        sys.stdout.write(json.dumps(search_table(connection, table, asked, until)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
