"""The inventory that sites copy, dry-run on this machine; nothing is changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import docker

from tests.e2e.inventories import copy_of
from tests.e2e.names import PROJECT
from tests.e2e.site import PYINFRA


def test_a_dry_run_says_what_would_be_deployed(tmp_path: Path) -> None:
    prod = copy_of("prod", tmp_path)
    dry = subprocess.run(
        [*PYINFRA, str(prod.inventory), "deploy.py", "--dry", "--diff"],
        cwd=PROJECT,
        env=os.environ | {"PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = dry.stdout + dry.stderr
    assert dry.returncode == 0, said
    for service in ("llama-cpp-tiny-coder", "litellm", "open-webui"):
        assert f"create container {prod.name}-{service}-0" in said
    assert not (tmp_path / ".secrets").exists()
    client = docker.from_env()
    label: dict[str, Any] = {"label": f"io.atelier.deployment={prod.name}"}
    assert client.containers.list(all=True, filters=label) == []
    assert client.networks.list(filters=label) == []
    client.close()
