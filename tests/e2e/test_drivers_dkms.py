"""Modules that DKMS builds for real, of Debian's own packages: one that builds, one that fails.

No card is there: nothing is loaded. Debian 12's 535 builds on its kernel; Debian 13's open 550 does
not, since ``pci_resize_resource`` changed: https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1272
Each takes minutes of a core: ``make test-drivers``.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from deploy.catalog import load_catalog
from deploy.images import make_build_plan
from deploy.images.builder import build_base
from deploy.operations.driver import DriverCommand
from deploy.scripts import read_script
from tests.e2e.hosts import docker
from tests.e2e.names import host_name

BASES = {"bookworm": "open-webui", "trixie": "litellm"}
"""Images that are built on each release's root file system."""
BUILD_SECONDS = 3600
pytestmark = pytest.mark.timeout(2 * BUILD_SECONDS)
SOURCES = (
    "sed -i 's/^Components:.*/Components: main contrib non-free non-free-firmware/; "
    "s/ main$/ main contrib non-free non-free-firmware/' /etc/apt/sources.list*  "
    "/etc/apt/sources.list.d/* 2>/dev/null; true"
)


@dataclass
class Machine:
    """A fresh Debian, without systemd."""

    name: str

    def run(self, command: str, *, check: bool = True) -> str:
        return docker("exec", self.name, "sh", "-c", command, check=check)

    def install(self, *packages: str) -> tuple[int, str, float]:
        """The driver's script; its status, what it printed, and how many seconds it took."""
        started = time.monotonic()
        arguments = ("atelier", "install", "apt", "-", "-", *packages)
        finished = subprocess.run(
            ["docker", "exec", self.name, "sh", "-c", read_script("driver.sh"), *arguments],
            capture_output=True, text=True, timeout=BUILD_SECONDS,
        )  # fmt: skip
        return finished.returncode, finished.stdout + finished.stderr, time.monotonic() - started


@contextmanager
def machine(release: str) -> Iterator[Machine]:
    base = make_build_plan(BASES[release], load_catalog()).base
    build_base(base, report=lambda _line: None)
    name = host_name(f"dkms-{release}")
    docker("rm", "--force", name, check=False)
    try:
        docker("run", "--detach", "--network=host", "--name", name, base.tag, "sleep", "infinity")
        made = Machine(name)
        made.run(SOURCES)
        yield made
    finally:
        docker("rm", "--force", name, check=False)


def test_a_module_that_builds() -> None:
    with machine("bookworm") as host:
        packages = ("linux-headers-amd64", "nvidia-kernel-dkms", "nvidia-smi", "libcuda1")
        status, said, seconds = host.install(*packages)
        print(f"built in {seconds:.0f} s")  # noqa: T201 - what docs/verified.md says
        assert status == 0, said
        assert "installing linux-headers-amd64 and 3 more: 15 s" in said
        (module,) = host.run("dkms status").splitlines()
        assert module.startswith("nvidia-current/535.")
        assert module.endswith(": installed")
        kernel = module.split(",")[1].strip()
        assert host.run(f"modinfo -k {kernel} -F version nvidia-current").startswith("535.")
        assert host.run(f"modinfo -k {kernel} -F license nvidia-current") == "NVIDIA"
        assert "DKMS" in host.run(f"modinfo -k {kernel} -F signer nvidia-current")
        assert host.run("dpkg --audit") == ""
        # a second time there is nothing to build
        assert host.install(*packages)[0] == 0


def test_a_module_that_does_not_build() -> None:
    with machine("trixie") as host:
        status, said, seconds = host.install("linux-headers-amd64", "nvidia-open-kernel-dkms")
        print(f"failed after {seconds:.0f} s")  # noqa: T201 - what docs/verified.md says
        assert status == 1, said
        assert "the module could not be built; in /var/lib/dkms/nvidia-current-open/550." in said
        assert "error: too few arguments to function" in said
        assert "pci_resize_resource" in said
        assert "removed what was half installed, so that apt works:" in said
        explained = DriverCommand("driver.sh", redact=str).explain(said)
        assert explained.startswith("fix: this driver does not build on this kernel")
        # nothing is left that would fail again, and apt works for everything else at once
        states = host.run("dpkg-query -W -f '${db:Status-Abbrev}\n' '*nvidia*'").split()
        assert not {state for state in states if state[1] in "UFHWt"}
        assert host.run("dpkg --audit") == ""
        started = time.monotonic()
        host.run("DEBIAN_FRONTEND=noninteractive apt-get install -q -y hello && hello")
        assert time.monotonic() - started < 60, "it was built again"
