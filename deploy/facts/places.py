"""The file systems of the places that a deployment writes to, as a part of other facts."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import cast

from deploy.facts.system import IS_MAC
from deploy.hosts.state import FileSystem, Place

FUNCTIONS = r"""
find_place() {
  at=$2
  until [ -d "$at/" ]; do
    [ "$1" != directory ] || [ ! -e "$at" ] || echo "blocked $at"
    up=${at%/*}; [ "$up" != "$at" ] || up=; at=$up
  done
  may=no; [ ! -w "$at/" ] || may=yes
  places="$places $1:$may"
}
show_places() {
  if ! IS_MAC && on_linux "$places" "$@"; then return; fi
  for each in $places; do
    if IS_MAC; then on_mac "$each" "$1"; else on_linux "$each" "$1"; fi
    shift
  done
}
on_linux() {
  list=$1
  shift
  { stat -L -c %d -- "$@"; df -B1 --output=avail,itotal,iavail,target -- "$@"; } 2>/dev/null |
    awk -v places="$list" '
      FNR == NR {
        options[$2] = $4; pool[$2] = ""
        if ($3 == "zfs") sub("/.*", "", $1)
        if ($3 == "btrfs" || $3 == "zfs" || $1 ~ ":/|^\/\/") pool[$2] = "@" $3 "=" $1
        next
      }
      NF == 1 { device[++devices] = $1; next }
      $1 != "Avail" { row[++rows] = $0; mount[rows] = $NF }
      END {
        wanted = split(places, place)
        if (devices != wanted || rows != wanted) exit 1
        for (i = 1; i <= wanted; i++) {
          sub(":", " ", place[i])
          how = options[mount[i]]
          print place[i], how ? how : "rw", device[i] pool[mount[i]], row[i]
        }
      }' /proc/mounts -
}
on_mac() {
  df -kP "$2" 2>/dev/null | awk -v name="${1%:*}" -v may="${1#*:}" 'NR == 2 {
    mount = $6; for (i = 7; i <= NF; i++) mount = mount " " $i
    printf "%s %s rw %s %.0f - - %s\n", name, may, $1, $4 * 1024, mount }'
}
places=
""".strip().replace("IS_MAC", f"{{ {IS_MAC}; }}")
"""``find_place`` leaves in ``$at`` where a place is, or will be made; ``show_places`` prints a line
about the file system of each. On Linux all are asked at once, and one by one if one says nothing.
After the device, and ``@``, stands what shares its space with others: the type of a file system,
``=``, and the pool of a subvolume of btrfs or a dataset of ZFS, or the place on a file server.
"""


def look_at_places(**places: str) -> list[str]:
    """Shell commands that print the sections which parse_places reads.

    Args:
        places: path of each place, as a word of the shell; empty for one that there is not.
    """
    words = {name: word for name, word in places.items() if word}
    finding = (
        f'find_place {name} {word}; set -- "$@" "$at/"'
        for name, word in (words | {"temporary": '"${TMPDIR:-/tmp}"'}).items()
    )
    return [f"{FUNCTIONS}\nset --; echo '@places'", *finding, 'show_places "$@"']


def look_at_sizes(paths: Collection[str]) -> str:
    """Shell command that prints the sizes of files, and of what has arrived of them."""
    if not paths:
        return "true"
    both = shlex.join(name for path in paths for name in (path, f"{path}.part"))
    return (
        f"echo '@sizes'; if {IS_MAC}; then stat -L -f '%z %N' -- {both}; "
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
    device, _, pool = device.partition("@")
    has_limit = inodes.isdigit() and int(inodes) > 0 and free_inodes.isdigit()
    return place, FileSystem(
        mount=mount,
        device=device,
        pool=pool,
        free_bytes=int(free),
        free_inodes=int(free_inodes) if has_limit else None,
        is_read_only="ro" in options.split(","),
        is_writable=may == "yes",
    )
