"""The inventory that sites copy, dry-run on this machine as it stands; nothing is changed."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import docker

from tests.e2e.site import PROJECT, PYINFRA

INVENTORY = PROJECT / "inventories" / "prod.py"


def test_a_dry_run_says_what_would_be_deployed() -> None:
    secrets = INVENTORY.parent / ".secrets" / "prod.yaml"
    existed = secrets.exists()
    dry = subprocess.run(
        [*PYINFRA, str(INVENTORY), "deploy.py", "--dry", "--diff"],
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
        assert f"create container prod-{service}-0" in said
    assert secrets.exists() == existed
    client = docker.from_env()
    label: dict[str, Any] = {"label": "io.atelier.deployment=prod"}
    assert client.containers.list(all=True, filters=label) == []
    assert client.networks.list(filters=label) == []
    client.close()
