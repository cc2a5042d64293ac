"""A fresh Debian 12 over SSH where DKMS builds NVIDIA's real modules: one fails, one succeeds.

See real_modules. 580.82.07 does not build on Debian 12's kernel since ``pci_resize_resource``
changed there, as in https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1272; 580.142 does.
No cards are there: nothing is loaded. Each build takes minutes of a core: ``make test-drivers``.
Asserted on the host itself, past SSH and past Atelier.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.fake_driver import serve_as
from tests.e2e.hosts import docker, run_host
from tests.e2e.names import host_name
from tests.e2e.real_modules import MODULE, RealModules, add_cards
from tests.e2e.test_ssh_driver import LOADED
from tests.e2e.test_ssh_driver import Site as DriverSite

NAME = host_name("dkms")
FAILS, BUILDS = "580.82.07", "580.142"
BUILD_SECONDS = 3600
pytestmark = pytest.mark.timeout(2 * BUILD_SECONDS)


class Site(DriverSite):
    """Waits for a whole build."""

    timeout_seconds = BUILD_SECONDS
    kernel = ""

    def modinfo(self, field: str, module: str = "nvidia") -> str:
        """What the host's own modinfo says of a module that was built."""
        said = self.host.run(f"/usr/sbin/modinfo -k {self.kernel} -F {field} {module}", check=False)
        return said.partition("\n")[0]

    def install(self, version: str) -> tuple[Any, float]:
        """Deploy a version; what came of it, and how many seconds that took."""
        self.declare(version=version)
        started = time.monotonic()
        result = self.deploy()
        return result, time.monotonic() - started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("dkms")
    with serve_as(tmp_path_factory.mktemp("repository"), RealModules) as repository:
        for version in (FAILS, BUILDS):
            repository.publish(version)
        with run_host(NAME, directory, restarts=True) as host:
            docker("update", "--restart", "always", NAME)
            site = Site(directory, host, repository)
            site.kernel = add_cards(host, 2)
            yield site


def test_a_module_that_does_not_build(site: Site) -> None:
    result, seconds = site.install(FAILS)
    print(f"failed after {seconds:.0f} s")  # noqa: T201 - what docs/verified.md says
    assert result.status == 1, result.output
    assert f"could not be built; in /var/lib/dkms/nvidia/{FAILS}/build/make.log" in result.output
    assert "error: too few arguments to function" in result.output
    assert "pci_resize_resource" in result.output
    assert "removed what was half installed, so that apt works:" in result.output
    assert "this driver does not build on this kernel: declare a newer version" in result.output
    # nothing is left that would fail again, and apt works for everything else at once
    assert not {state for state in site.states().values() if state[1] in "UFHWt"}
    assert MODULE not in {name for name, state in site.states().items() if state[1] == "i"}
    assert site.host.run("dpkg --audit") == ""
    started = time.monotonic()
    site.host.run("DEBIAN_FRONTEND=noninteractive apt-get install -q -y hello && hello")
    assert time.monotonic() - started < 60, "it was built again"


def test_a_module_that_builds(site: Site) -> None:
    """After the other one failed on the same host: what is declared next is installed."""
    result, seconds = site.install(BUILDS)
    print(f"built in {seconds:.0f} s")  # noqa: T201 - what docs/verified.md says
    assert result.status == 0, result.output
    assert ("install", "NVIDIA driver") in result.announced
    assert ("load", "module nvidia") in result.announced
    (module,) = site.host.run("dkms status").splitlines()
    assert module == f"nvidia/{BUILDS}, {site.kernel}, x86_64: installed"
    assert site.modinfo("version") == BUILDS
    assert site.modinfo("license") == "Dual MIT/GPL"
    assert site.modinfo("version", "nvidia-uvm") == BUILDS
    assert "DKMS" in site.modinfo("signer")
    assert site.modinfo("vermagic").startswith(f"{site.kernel} ")
    assert site.states()[MODULE] == "hi"
    assert site.host.run("dpkg --audit") == ""
    assert site.host.run(LOADED) == BUILDS
    # a second run builds nothing
    again = site.deploy()
    assert again.changes == [], again.output


def test_a_module_that_is_missing_is_made_anew(site: Site) -> None:
    """By DKMS alone: nothing is installed, and what was built before is used."""
    module = f"nvidia/{BUILDS}"
    site.host.run(f"dkms uninstall {module} -k {site.kernel} && rm -r /srv/fake/module/nvidia")
    assert site.modinfo("version") == ""
    planned = site.apply()
    assert planned.announced == {("build", "module nvidia"), ("load", "module nvidia")}
    assert site.modinfo("version") == BUILDS
    assert site.host.run(LOADED) == BUILDS
