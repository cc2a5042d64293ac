"""Which versions of services wrote the data that are there."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

from deploy.facts.engine import UNLESS_ENGINE

SHOWN = "head -c 32 | tr -cd '[:print:]'"
FUNCTION = f"""
data() {{
  found=$(docker cp "$1:$2" - 2>/dev/null | tar -xO 2>/dev/null | {SHOWN})
  if [ -z "$found" ]; then
    place=$(docker volume inspect --format '{{{{.Mountpoint}}}}' "$3" 2>/dev/null) || return 0
    found=$(cat "$place/$4" 2>/dev/null | {SHOWN})
  fi
  [ -z "$found" ] || echo "$1 $found"
}}
""".strip()
"""Prints a container's name and the first words of a file of it, which may not run any more."""


class DataFiles(FactBase[dict[str, str]]):
    """The first words of files among data, by the name of the container, where they are."""

    def command(self, files: tuple[tuple[str, str, str, str], ...]) -> str:
        """Print a row for each file.

        Args:
            files: container, path in it, volume and path in that, of each.
        """
        rows = [shlex.join(["data", *file]) for file in files]
        return "\n".join([f"{UNLESS_ENGINE}\n{FUNCTION}", *rows, "true"])

    @staticmethod
    def default() -> dict[str, str]:
        """No data."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Parse the rows."""
        rows = [line.partition(" ") for line in output if line.strip()]
        return {name: text for name, _, text in rows}
