"""The machine that measured, and the versions of what was measured."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.ansible_stack import PLAYBOOK


def describe() -> dict[str, str]:
    """Names and values, in the order in which they are shown."""
    return {
        "processor": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1024**2:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "pyinfra": version("pyinfra"),
        "paramiko": version("paramiko"),
        "Ansible": f"{_ansible('ansible-core')}, community.docker {_collection()}",
        "Mitogen": _ansible("mitogen").split()[1],
        "Docker": _output("docker", "version", "--format", "{{.Server.Version}}"),
        "OpenSSH": _output("ssh", "-V").split(",")[0],
    }


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def _field(path: str, name: str) -> str:
    match = re.search(rf"^{name}\s*: *(.*)$", Path(path).read_text(), re.M)
    return match[1].strip() if match else "not known"


def _ansible(package: str) -> str:
    python = PLAYBOOK.parent / "python"
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return f"{package} {_output(str(python), '-c', code)}"


def _collection() -> str:
    name = "site-packages/ansible_collections/community/docker/MANIFEST.json"
    manifests = (PLAYBOOK.parent.parent / "lib").glob(f"*/{name}")
    manifest = json.loads(next(manifests).read_text(encoding="utf-8"))
    return str(manifest["collection_info"]["version"])


def _output(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return (finished.stdout + finished.stderr).strip()
