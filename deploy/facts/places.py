"""The file systems of the places that a deployment writes to, as a part of other facts."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import cast

from deploy.hosts.state import FileSystem, Place

FUNCTION = r"""
place() {
  at=$2
  until [ -d "$at/" ]; do
    [ "$1" != directory ] || [ ! -e "$at" ] || echo "blocked $at"
    up=${at%/*}; [ "$up" != "$at" ] || up=; at=$up
  done
  may=no; [ ! -w "$at/" ] || may=yes
  if [ "$(uname)" = Darwin ]; then place_on_mac "$1"; else place_on_linux "$1"; fi
}
place_on_linux() {
  row=$(df -B1 --output=avail,itotal,iavail,target -- "$at/" 2>/dev/null | tail -n 1)
  [ -n "$row" ] || return 0
  options=$(awk -v at="${row##* }" '$2 == at { found = $4 } END { print found }' /proc/mounts)
  echo "$1 $may ${options:-rw} $(stat -L -c %d "$at/") $row"
}
place_on_mac() {
  df -kP "$at/" 2>/dev/null | awk -v name="$1" -v may="$may" 'NR == 2 {
    mount = $6; for (i = 7; i <= NF; i++) mount = mount " " $i
    printf "%s %s rw %s %.0f - - %s\n", name, may, $1, $4 * 1024, mount }'
}
""".strip()
"""Prints a line about the file system of a place, which need not exist yet."""


def look_at_places(**places: str) -> list[str]:
    """Shell commands that print the sections which parse_places reads.

    Args:
        places: path of each place, as a word of the shell; empty for one that there is not.
    """
    rows = (f"place {name} {word}" for name, word in places.items() if word)
    return [f"{FUNCTION}\necho '@places'", *rows, 'place temporary "${TMPDIR:-/tmp}"']


def look_at_sizes(paths: Collection[str]) -> str:
    """Shell command that prints the sizes of files, and of what has arrived of them."""
    if not paths:
        return "true"
    both = shlex.join(name for path in paths for name in (path, f"{path}.part"))
    return (
        f"echo '@sizes'; if [ \"$(uname)\" = Darwin ]; then stat -L -f '%z %N' -- {both}; "
        f"else stat -L -c '%s %n' -- {both}; fi 2>/dev/null"
    )


def parse_places(sections: dict[str, list[str]]) -> dict[Place, FileSystem]:
    """The file system of each place."""
    rows = [row.split(maxsplit=7) for row in sections.get("places", [])]
    return dict(_file_system(row) for row in rows if len(row) == 8)


def parse_blocked(sections: dict[str, list[str]]) -> str:
    """The file that stands where a directory should be; empty if there is none."""
    rows = sections.get("places", [])
    return next((row.partition(" ")[2] for row in rows if row.startswith("blocked ")), "")


def parse_sizes(sections: dict[str, list[str]]) -> dict[str, int]:
    """Sizes of files by path."""
    rows = [row.split(" ", 1) for row in sections.get("sizes", [])]
    return {path: int(size) for size, path in rows}


def _file_system(row: list[str]) -> tuple[Place, FileSystem]:
    name, may, options, device, free, inodes, free_inodes, mount = row
    place = cast(Place, "temporary files" if name == "temporary" else name)
    # some file systems make room for files as they need it
    has_limit = inodes.isdigit() and int(inodes) > 0 and free_inodes.isdigit()
    return place, FileSystem(
        mount=mount,
        device=device,
        free_bytes=int(free),
        free_inodes=int(free_inodes) if has_limit else None,
        is_read_only="ro" in options.split(","),
        is_writable=may == "yes",
    )
