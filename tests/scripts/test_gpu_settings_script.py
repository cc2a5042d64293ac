"""gpu_settings.sh: with a stand-in of nvidia-smi that keeps state; asserted on that state."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.scripts import read_script
from tests.fake_smi import SMI

SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$0.asked"
case "$*" in "is-active -q nvidia-persistenced.service") exit 0 ;; *is-active*) exit 3 ;; esac
"""


class Machine:
    """A machine with two cards, and what its programs were asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "gpus.json"
        for name, text in {"nvidia-smi": SMI.replace("@VERSION@", "580.178.04"),
                           "systemctl": SYSTEMCTL}.items():  # fmt: skip
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    def run(self, *arguments: str) -> tuple[int, str]:
        finished = subprocess.run(
            ["sh", "-c", read_script("gpu_settings.sh"), "atelier", *arguments],
            env={
                "PATH": f"{self.directory}:{os.environ['PATH']}",
                "FAKE_GPUS": str(self.state),
                "FAKE_LOADED": "580.178.04",
                "FAKE_COUNT": "2",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        return finished.returncode, finished.stdout + finished.stderr

    def apply(self, *lines: str) -> tuple[int, str]:
        file = self.directory / "wanted"
        file.write_text("".join(f"{line}\n" for line in ("# a comment", *lines)))
        return self.run("apply", str(file))

    def gpu(self, number: int) -> dict[str, Any]:
        """What the stand-in was told of a card."""
        found: dict[str, Any] = json.loads(self.state.read_text())[str(number)]
        return found

    def be(self, **state: Any) -> None:
        """Make the first card another one."""
        self.state.write_text(json.dumps({"0": state}))

    @property
    def units(self) -> list[str]:
        asked = self.directory / "systemctl.asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        return [line for line in lines if "is-active" not in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


LINE = "mig 0 3g.40gb:4 2g.20gb:0 1g.10gb:2"
PLACED = [["3g.40gb", 4], ["2g.20gb", 0], ["1g.10gb", 2]]


def test_a_gpu_is_divided_once(machine: Machine) -> None:
    assert machine.apply(LINE) == (0, "")
    assert (machine.gpu(0)["mig"], machine.gpu(0)["instances"]) == (True, PLACED)
    assert machine.gpu(1)["mig"] is False
    # the daemon has the card open while the mode changes
    stop, start = "stop nvidia-persistenced.service", "start nvidia-persistenced.service"
    assert machine.units == [stop, start]
    assert machine.apply(LINE) == (0, "")
    assert machine.units == [stop, start]


def test_another_layout(machine: Machine) -> None:
    machine.apply(LINE)
    assert machine.apply("mig 0 7g.80gb:0") == (0, "")
    assert machine.gpu(0)["instances"] == [["7g.80gb", 0]]


def test_an_instance_that_is_used(machine: Machine) -> None:
    machine.be(mig=True, pending=True, instances=PLACED, busy=True)
    status, said = machine.apply("mig 0 7g.80gb:0", "power 1 300")
    assert status == 1
    assert "GPU 0 still has the instances 3g.40gb 2g.20gb 1g.10gb: a program uses them" in said
    assert machine.gpu(0)["instances"] == PLACED
    # one that fails does not keep the others from being set up
    assert machine.gpu(1)["power"] == 300


def test_a_mode_that_changes_with_a_restart(machine: Machine) -> None:
    machine.be(resets=False)
    status, said = machine.apply(LINE)
    assert (status, said) == (0, "GPU 0: its MIG mode changes with the next start of the host\n")
    found = machine.gpu(0)
    assert (found["mig"], found["pending"], found["instances"]) == (False, True, [])


def test_what_the_driver_refuses_is_shown(machine: Machine) -> None:
    status, said = machine.apply("mig 0 3g.40gb:2")
    assert status == 1
    assert "nvidia-smi mig -i 0 -cgi 3g.40gb:2 -C failed:" in said
    assert "Invalid Argument" in said


def test_a_driver_that_numbers_otherwise(machine: Machine) -> None:
    """Containers are given instances by number: no engine must get one of another size."""
    status, said = machine.apply("mig 0 1g.10gb:0 3g.40gb:4")
    assert status == 1
    assert "the driver numbers the instances 3g.40gb 1g.10gb, not 1g.10gb 3g.40gb" in said


def test_limits_and_clocks(machine: Machine) -> None:
    assert machine.apply("power 0 300", "clocks 0 210,1410", "power 1 350") == (0, "")
    assert (machine.gpu(0)["power"], machine.gpu(0)["clocks"]) == (300, "210,1410")
    assert (machine.gpu(1)["power"], machine.gpu(1)["clocks"]) == (350, "")
    status, said = machine.apply("power 0 100")
    assert status == 1
    assert "should be between 200.00 W and 700.00 W" in said


def test_settings_are_taken_back(machine: Machine) -> None:
    machine.apply(LINE, "power 0 300", "clocks 0 210,1410")
    assert machine.run("undo", "mig:0", "power:0:700", "clocks:0") == (0, "")
    found = machine.gpu(0)
    assert (found["mig"], found["instances"]) == (False, [])
    assert (found["power"], found["clocks"]) == (700, "")
