"""Files of a host."""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.facts.system import IS_MAC


class Contents(FactBase[dict[str, str]]):
    """The text of files that hold no secrets, by path; for diffs."""

    def command(self, paths: list[str]) -> str:
        """Print each path and its content in base64, on two lines."""
        quoted = " ".join(shlex.quote(path) for path in paths)
        return (
            f'for f in {quoted}; do [ ! -f "$f" ] || '
            '{ echo "$f"; base64 <"$f" | tr -d "\\n"; echo; }; done'
        )

    @staticmethod
    def default() -> dict[str, str]:
        """No files."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Decode the contents."""
        return {
            path: base64.b64decode(content).decode("utf-8", "replace")
            for path, content in zip(output[::2], output[1::2], strict=True)
        }


@dataclass(frozen=True)
class PathState:
    """A file or a directory as the host has it."""

    size_bytes: int
    mode: int


class PathStates(FactBase[dict[str, PathState]]):
    """Size and mode of the files and directories there are, by path."""

    def command(self, paths: list[str]) -> str:
        """Print a line for each path there is."""
        quoted = " ".join(shlex.quote(path) for path in paths)
        return (
            f"if {IS_MAC}; then stat -L -f '%z %Lp %N' -- {quoted} 2>/dev/null; "
            f"else stat -L -c '%s %a %n' -- {quoted} 2>/dev/null; fi; true"
        )

    @staticmethod
    def default() -> dict[str, PathState]:
        """Nothing is there."""
        return {}

    def process(self, output: list[str]) -> dict[str, PathState]:
        """Parse the lines."""
        rows = [line.split(" ", 2) for line in output if line]
        return {path: PathState(int(size), int(mode, 8)) for size, mode, path in rows}
