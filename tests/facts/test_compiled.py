"""What a host says of its processors, and of what its containers have compiled."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from deploy.facts.compiled import Compiled

DOCKER = """#!/bin/sh
[ "$2" = serving ] || exit 1
echo "307200 $5"
"""


def test_what_this_machine_says(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    asked = [("serving", "/root/.cache/vllm"), ("gone", "/root/.cache/vllm")]
    said = subprocess.run(
        ["sh", "-c", Compiled().command(containers=asked)],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stderr) == (0, "")
    found = Compiled().process(said.stdout.splitlines())
    assert found.machine.architecture == platform.machine()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    listed = next(line for line in lines if line.startswith(("flags", "Features")))
    assert found.machine.features == set(listed.partition(":")[2].split())
    assert found.sizes == {"serving": 307200 * 1024}


def test_arm() -> None:
    output = ["@architecture", "aarch64", "@features", "fp asimd sve", "@sizes", "gone"]
    found = Compiled().process(output)
    assert found.machine.features == {"fp", "asimd", "sve"}
    assert found.sizes == {}
