"""llama-server as an archive, as its releases are: the program and its libraries in one directory.

It is made from the image that this project builds; its own loader goes with it, because Debian
sid's libraries are newer than those of a test host.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan

COLLECT = r"""
mkdir -p /tmp/lib && cd /tmp/lib
cp /usr/bin/llama-server llama-server.bin
ldd /usr/bin/llama-server | grep -o '/[^ ]*' | while read -r file; do cp -L "$file" .; done
cp /usr/lib/x86_64-linux-gnu/ggml/backends0/*.so .
tar -c -C /tmp lib
"""
# the program finds its backends next to what is executed, which is the loader
START = r"""#!/bin/sh
lib=$(dirname "$(readlink -f "$0")")/lib
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$lib/llama-server.bin" "$@"
"""


def make_archive(path: Path, version: str, start: str = START) -> Path:
    """Write an archive whose files are in a directory named after the version.

    Args:
        path: where it is written.
        version: what it is called.
        start: the text of its llama-server, which starts the program.
    """
    plan = make_build_plan("llama-cpp", load_catalog())
    build_images([plan], report=lambda _line: None)
    command = ["docker", "run", "--rm", "--network=none", "--user=0:0", "--entrypoint=sh"]
    collected = subprocess.run(
        [*command, plan.tag, "-c", COLLECT], capture_output=True, check=True, timeout=300
    ).stdout
    with (
        tarfile.open(fileobj=io.BytesIO(collected)) as source,
        tarfile.open(path, "w:gz", compresslevel=1) as target,
    ):
        for member in source:
            data = source.extractfile(member) if member.isfile() else None
            member.name = f"llama-{version}/{member.name}"
            target.addfile(member, data)
        member = tarfile.TarInfo(f"llama-{version}/llama-server")
        member.size, member.mode = len(start), 0o755
        target.addfile(member, io.BytesIO(start.encode()))
    return path
