"""The GPU of a Mac, as llama-server sees it.

llama-server is started with that device, all layers on it, and does not start without it
(``--device``, ``--n-gpu-layers``, ``--fit`` in tools/server/README.md of llama.cpp). Its log says
nothing of devices as long as it is not verbose.
"""

from __future__ import annotations

import re
import shlex

from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection

DEVICE = re.compile(r"^\s*MTL\d+: (?P<name>.+?)(?: \(|$)", re.MULTILINE)
"""A line of ``--list-devices``: ``MTL0: Apple M3 Ultra (196608 MiB, 196607 MiB free)``."""


def metal_device(connection: Connection, program: str, name: str) -> str:
    """What the GPU is called.

    Args:
        connection: to the Mac.
        program: path of llama-server there.
        name: what is asked about, for the error.

    Raises:
        ServiceError: if the program sees no GPU.
    """
    _, said = connection.run(f"{shlex.quote(program)} --list-devices")
    found = DEVICE.search(said)
    if found is None:
        fix = "declare llama-server's release for macOS on Apple chips (bin-macos-arm64)"
        raise ServiceError(Problem(name, "llama-server sees no GPU", "Metal", fix))
    return found["name"]
