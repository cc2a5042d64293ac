"""The proof's script, with a Docker that answers what the test says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploy.scripts import read_script

IMAGE = "vllm/vllm-openai:v1"
FIELDS = "uuid,name,memory.total,driver_version"
ROWS = "GPU-0, NVIDIA L40S, 46068, 580.178.04\nGPU-1, NVIDIA L40S, 46068, 580.178.04"
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$LOG"
[ "$1" = run ] || exit 0
printf '%s\\n' "$SAYS"
printf '%s\\n' "$WARNS" >&2
exit "$STATUS"
"""


class Machine:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = directory / "proven-gpus"
        self.log = directory / "log"
        tool = directory / "docker"
        tool.write_text(DOCKER)
        tool.chmod(0o755)

    def prove(
        self, says: str, *, status: int = 0, expected: str = ROWS, image: str = IMAGE,
        fields: str = FIELDS, key: str = "k1", warns: str = "",
    ) -> tuple[int, str]:  # fmt: skip
        arguments = [str(self.record), "lab-proof", image, key, expected, fields]
        finished = subprocess.run(
            ["sh", "-c", read_script("prove_gpus.sh"), "atelier", *arguments,
             "--device", "nvidia.com/gpu=0"],
            env={"PATH": f"{self.directory}:{os.environ['PATH']}", "SAYS": says,
                 "STATUS": str(status), "LOG": str(self.log), "WARNS": warns},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return finished.returncode, finished.stdout + finished.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_is_expected_is_written_down(machine: Machine) -> None:
    # in whatever order the container lists them
    assert machine.prove("\n".join(reversed(ROWS.splitlines()))) == (0, "")
    assert machine.record.read_text() == f"{IMAGE} k1\n"
    first, run, last = machine.log.read_text().splitlines()
    assert first == last == "container rm --force lab-proof"
    assert run == (
        "run --rm --name lab-proof --network none --env "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility --device nvidia.com/gpu=0 --entrypoint "
        f"nvidia-smi {IMAGE} --query-gpu={FIELDS} --format=csv,noheader,nounits"
    )
    # of each image, what was proven last
    assert machine.prove(ROWS, image="ollama/ollama:v2") == (0, "")
    assert machine.prove(ROWS, key="k2") == (0, "")
    assert machine.record.read_text() == f"ollama/ollama:v2 k1\n{IMAGE} k2\n"


def test_a_warning_of_docker_is_no_answer(machine: Machine) -> None:
    warning = "WARNING: Your kernel does not support swap limit capabilities"
    assert machine.prove(ROWS, warns=warning) == (0, "")
    refused = "docker: Error response from daemon: unresolvable CDI devices nvidia.com/gpu=2"
    status, said = machine.prove("", status=125, warns=refused)
    assert status == 1
    assert f"found:\n    nothing\n    {refused}\nexpected:\n" in said


@pytest.mark.parametrize(
    ("says", "status"),
    [
        (ROWS.splitlines()[0], 0),
        (ROWS.replace("580.178.04", "580.173.02"), 0),
        (ROWS.replace("46068", "23034"), 0),
        ("", 0),
        (ROWS, 1),
        ("Failed to initialize NVML: Unknown Error", 255),
    ],
)
def test_anything_else_fails_with_both(machine: Machine, says: str, status: int) -> None:
    code, said = machine.prove(says, status=status)
    assert code == 1
    assert said.startswith(f"a container of {IMAGE} does not see the cards as the host does\nfound")
    assert "\n".join(f"    {row}" for row in ROWS.splitlines()) in said
    assert f"    {says.splitlines()[0] if says else 'nothing'}" in said
    assert not machine.record.exists()


def test_cards_of_amd(machine: Machine) -> None:
    assert machine.prove("gfx942\ngfx90a", expected="gfx90a\ngfx942", fields="") == (0, "")
    run = machine.log.read_text().splitlines()[1]
    assert f"--device nvidia.com/gpu=0 --entrypoint sh {IMAGE} -c" in run


ROCMINFO = """ROCk module is loaded
==========
HSA Agents
==========
*******
Agent 1
*******
  Name:                    AMD EPYC 9534 64-Core Processor
  Marketing Name:          AMD EPYC 9534 64-Core Processor
*******
Agent 2
*******
  Name:                    gfx942
  Marketing Name:          AMD Instinct MI300X
  ISA Info:
    ISA 1
      Name:                    amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-
"""
"""Shortened: https://rocm.docs.amd.com/projects/rocminfo/en/docs-7.2.0/how-to/use-rocminfo.html"""


def test_what_is_asked_in_a_container_with_rocminfo(tmp_path: Path) -> None:
    script = read_script("prove_gpus.sh")
    asked = script[script.index("ask_amd='") + len("ask_amd='") :]
    asked = asked[: asked.index("\n'" if "\n'" in asked else "fi'") + 2].rstrip("'")
    # it fills the end of lines with spaces
    padded = ROCMINFO.replace("gfx942\n", "gfx942    \n")
    (tmp_path / "rocminfo").write_text(f"#!/bin/sh\ncat <<'end'\n{padded}end\n")
    (tmp_path / "rocminfo").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    finished = subprocess.run(
        ["sh", "-c", asked], env={"PATH": path}, capture_output=True, text=True, timeout=60
    )
    assert (finished.stdout, finished.stderr) == ("gfx942\n", "")
