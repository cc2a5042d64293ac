"""The programs of services without a container, and whether services start them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase


@dataclass(frozen=True)
class InstalledProgram:
    """One version of a program."""

    path: str
    """Its directory."""
    size_bytes: int
    is_used: bool
    """Whether a unit file on the host names it, of whatever deployment."""


class OldPrograms(FactBase[tuple[InstalledProgram, ...]]):
    """Every version of every program, below one directory."""

    def command(self, directory: str) -> str:
        """Print size, ``yes`` or ``no``, and path of each.

        Args:
            directory: where they are.
        """
        return (
            f"for path in {shlex.quote(directory)}/*/*/; do path=${{path%/}}; "
            '[ -d "$path" ] || continue; used=no; '
            'grep -qsF -e "$path/" /etc/systemd/system/*.service '
            "/etc/atelier/services/*/unit && used=yes; "
            'echo "$(du -sk -- "$path" | cut -f1) $used $path"; done'
        )

    @staticmethod
    def default() -> tuple[InstalledProgram, ...]:
        """None."""
        return ()

    def process(self, output: list[str]) -> tuple[InstalledProgram, ...]:
        """Parse the lines."""
        rows = [line.split(" ", 2) for line in output if line]
        return tuple(
            InstalledProgram(path, int(size) * 1024, used == "yes") for size, used, path in rows
        )
