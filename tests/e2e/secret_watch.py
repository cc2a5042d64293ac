"""Looks for secrets on a host while something runs there: in arguments, environments and files.

What belongs to the container engine is left out: it keeps its containers' environments, readable
by root alone, and so does runc while a health check runs. So is the file in which routers find the
engines' key, where root alone gets there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.hosts import Host

SCRIPT = r"""
import json, os, select, stat, sys
from pathlib import Path

secrets = {name: value.encode() for name, value in json.loads(sys.stdin.readline()).items()}
own = os.readlink("/proc/self/ns/mnt")
ENGINE = ("/run/docker", "/run/containerd", "/tmp/runc-process")
KEYS = ("/live/litellm/engine_keys", "/live/litellm/engine_keys.new")
found, rounds, processes, files = set(), 0, set(), set()

def look(place, path):
    try:
        data = Path(path).read_bytes()
    except OSError:
        return
    found.update(f"{name} in {place}" for name, value in secrets.items() if value in data)

def is_outside_containers(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt") == own
    except OSError:
        return False

def is_small_file(path):
    try:
        return stat.S_ISREG(os.lstat(path).st_mode) and os.path.getsize(path) < 1_000_000
    except OSError:
        return False

# the engines' key for routers, in a directory that its owner alone may enter
def is_kept_there(path):
    return path.endswith(KEYS) and not Path(path).parent.parent.stat().st_mode & 0o077

while not select.select([sys.stdin], [], [], 0.01)[0]:
    rounds += 1
    for pid in filter(str.isdigit, os.listdir("/proc")):
        processes.add(pid)
        look("arguments", f"/proc/{pid}/cmdline")
        if is_outside_containers(pid):
            look("an environment", f"/proc/{pid}/environ")
    for top in ("/tmp", "/run", "/dev/shm", "/home", "/root", "/var/lib/atelier"):
        for folder, below, names in os.walk(top):
            below[:] = [name for name in below if not f"{folder}/{name}".startswith(ENGINE)]
            for path in (f"{folder}/{name}" for name in names):
                if is_small_file(path) and not path.startswith(ENGINE):
                    files.add(path)
                    if not is_kept_there(path):
                        look(path, path)
print(json.dumps(
    {"found": sorted(found), "rounds": rounds, "processes": len(processes), "files": len(files)}
))
"""


@dataclass
class Watched:
    """What was seen; filled in when the watch ends."""

    found: list[str] = field(default_factory=list)
    rounds: int = 0
    processes: int = 0
    files: int = 0


@contextmanager
def watch(host: Host, secrets: dict[str, str]) -> Iterator[Watched]:
    """Watch a host until the context ends."""
    seen = Watched()
    with subprocess.Popen(
        ["docker", "exec", "-i", host.name, "python3", "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(secrets) + "\n")
        process.stdin.flush()
        yield seen
        output, _ = process.communicate()
        vars(seen).update(json.loads(output))
