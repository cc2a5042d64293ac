"""A fresh Debian host with AMD's cards on its bus: Atelier brings their driver about, and keeps it.

There is no card: see fake_amd. apt, dpkg, signatures and the restart are real. Asserted on the host
itself, past SSH and past Atelier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import fake_amd
from tests.e2e.fake_amd import BUILT, AmdRepository
from tests.e2e.fake_driver import FAIL_BUILD, serve_as
from tests.e2e.hosts import USER, docker, run_host
from tests.e2e.names import host_name
from tests.e2e.test_ssh_driver import SETTINGS, Site

NAME = host_name("driver-amd")
VERSION, NEWER = "31.40.1", "31.50"


class AmdSite(Site):
    """The same with AMD's cards."""

    def declare(self, gpus: dict[str, Any] | None = None, **driver: Any) -> None:
        host = {
            "name": "box",
            "address": self.host.address,
            "ssh_user": USER,
            "ssh_key": str(self.host.key),
            "sudo": True,
            "gpus": "2x mi300x",
            "gpu_groups": [44, self.render],
            "driver": self.repository.settings() | driver,
            **(gpus or {}),
        }
        self.write_settings(SETTINGS | {"name": "e2e-driver-amd", "hosts": [host]})

    @property
    def render(self) -> int:
        """Number of the group that owns the devices."""
        return int(self.host.run("getent group render | cut -d: -f3"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AmdSite]:
    directory = tmp_path_factory.mktemp("driver")
    with serve_as(tmp_path_factory.mktemp("repository"), AmdRepository) as repository:
        repository.publish(VERSION)
        with run_host(NAME, directory, restarts=True) as host:
            fake_amd.add_cards(host, 2)
            docker("update", "--restart", "always", NAME)
            site = AmdSite(directory, host, repository)
            site.declare()
            yield site


def test_the_groups_are_told_before_anything_is_done(site: AmdSite) -> None:
    site.declare({"gpu_groups": [44]})
    refused = site.deploy()
    site.declare()
    assert refused.status == 1
    assert f"declare gpu_groups=({site.render},)" in refused.output


def test_a_build_that_fails_is_shown_and_leaves_apt_usable(site: AmdSite) -> None:
    site.host.run(f"touch {FAIL_BUILD}")
    failed = site.deploy()
    site.host.run(f"rm {FAIL_BUILD}; rm -r /var/lib/dkms")
    assert failed.status == 1
    assert "error: static declaration of 'migrate_enable'" in failed.output
    assert "this driver does not build on this kernel" in failed.output
    assert site.host.run("dpkg --audit") == ""


def test_it_is_installed_and_loaded(site: AmdSite) -> None:
    planned = site.apply()
    assert ("install", "AMD driver") in planned.announced
    assert ("load", "module amdgpu") in planned.announced
    for word in ("amdgpu 31.40.1, built on the host, AMD's repository",
                 "because no amdgpu of a kernel of Debian GNU/Linux 12"):  # fmt: skip
        assert word in planned.output
    states = site.host.run("dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'amdgpu*'")
    assert states.split() == ["hi", "amdgpu-dkms", "hi", "amdgpu-dkms-firmware"]
    assert site.host.run(f"cat {BUILT}") == "6.16.13"
    # no ROCm on the host
    assert site.host.run("dpkg-query -W 'rocm*' 'hsa*' 'hip*'", check=False) == ""
    found = [(row["name"], row["status"], row["found"]) for row in site.doctor()]
    assert ("GPUs", "ok", "2x mi300x, as declared") in found
    assert ("GPU driver", "ok", "amdgpu-dkms 6.16.13: gfx942") in found
    cards = json.loads(site.atelier("gpus", "--json").stdout)["cards"]
    assert [(card["name"], card["driver_version"], card["memory_mib"]) for card in cards] == [
        ("Instinct MI300X", "6.16.13", 192 * 1024)
    ] * 2


def test_what_serves_is_not_upgraded_unasked(site: AmdSite) -> None:
    site.repository.publish(NEWER)
    assert site.deploy().changes == []
    site.declare(version=NEWER, reboot="allowed")
    done = site.deploy()
    assert done.status == 0, done.output
    assert ("upgrade", "AMD driver") in done.announced
    assert ("restart", "host box") in done.announced
    assert ".31500000-" in site.host.run("dpkg-query -W amdgpu-dkms")
    assert site.deploy().changes == []
    found = json.dumps(site.doctor())
    assert '"problem"' not in found


def test_a_kernel_module_that_another_replaced(site: AmdSite) -> None:
    """Told apart by doctor; a restart puts it right."""
    site.host.run("cd /srv/fake/module/amdgpu && rm version && echo 0F0E0D0C0B0A >srcversion")
    (row,) = [row for row in site.doctor() if row["status"] != "ok"]
    assert row["found"] == (
        "the host must be restarted: amdgpu of the kernel is loaded, and another amdgpu-dkms, "
        "6.16.13, is installed"
    )
