"""The file systems of the places that a deployment writes to, as a part of other facts."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import cast, get_args

from deploy.hosts.state import FileSystem, Place

PLACES: tuple[Place, ...] = get_args(Place)
FUNCTION = r"""
place() {
  at=$2
  until [ -d "$at/" ]; do
    [ "$1" != directory ] || [ ! -e "$at" ] || echo "blocked $at"
    up=${at%/*}; [ "$up" != "$at" ] || up=; at=$up
  done
  row=$(df -B1 --output=avail,itotal,iavail,target -- "$at/" 2>/dev/null | tail -n 1)
  [ -n "$row" ] || return 0
  options=$(awk -v at="${row##* }" '$2 == at { found = $4 } END { print found }' /proc/mounts)
  may=no; [ ! -w "$at/" ] || may=yes
  echo "$1 $may ${options:-rw} $(stat -L -c %d "$at/") $row"
}
""".strip()
"""Prints a line about the file system of a place, which need not exist yet."""


def look_at_places(
    directory: str, docker_root: str, containerd: str, weights: str = ""
) -> list[str]:
    """Shell commands that print the sections which parse_places reads.

    Args:
        directory: where files are put on the host.
        docker_root: Docker's own directory, as a word of the shell.
        containerd: the directory of containerd where that keeps the images, as a word of the shell.
        weights: a cache of weights that is outside the directory, if there is one.
    """
    return [
        f"{FUNCTION}\necho '@places'",
        f"place directory {shlex.quote(directory)}",
        f'place images "{containerd}"',
        f'place volumes "{docker_root}/volumes"',
        *([f"place weights {shlex.quote(weights)}"] if weights else []),
        'place temporary "${TMPDIR:-/tmp}"',
    ]


def look_at_sizes(paths: Collection[str]) -> str:
    """Shell command that prints the sizes of files, and of what has arrived of them."""
    if not paths:
        return "true"
    both = [shlex.quote(name) for path in paths for name in (path, f"{path}.part")]
    return f"echo '@sizes'; stat -L -c '%s %n' -- {' '.join(both)} 2>/dev/null"


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
