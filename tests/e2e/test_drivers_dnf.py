"""NVIDIA's driver by the real dnf, on a host that takes itself for RHEL 9: see fake_rhel.

Asserted on the host itself, through rpm and dnf, past SSH and past Atelier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import fake_driver
from tests.e2e.fake_rhel import (
    DRIVER,
    KERNEL,
    LIBRARY,
    TOOLKIT,
    Repositories,
    become_rhel,
    build_image,
)
from tests.e2e.hosts import USER, Host, docker, remove_host, start_host
from tests.e2e.names import host_name
from tests.e2e.site import Operator, Settings

NAME = host_name("rhel")
OLDER, VERSION, NEWER, NEWEST = "580.126.09", "580.173.02", "580.178.04", "580.190.01"
OTHER_BRANCH = "595.71.05"
SETTINGS: Settings = {
    "name": "e2e-rhel",
    "profile": "individual",
    "models": [{"name": "tiny-coder"}],
    "engine": {"n_gpu_layers": 0},
    "image_source": "pull",
}
DEPLOY = """
from deploy.tasks import drivers
from deploy.tasks.current import current_deployment

drivers.install(current_deployment())
"""


@dataclass
class Site(Operator):
    """The deployment's drivers, run from a home directory of its own."""

    directory: Path
    host: Host
    repositories: Repositories
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment["HOME"] = str(self.directory)
        deploy_file = self.directory / "drivers_only.py"
        deploy_file.write_text(DEPLOY)
        self.deploy_file = str(deploy_file)
        (self.directory / ".ssh").mkdir()
        (self.directory / ".ssh" / "known_hosts").write_text(self.host.known_host())

    def declare(self, **driver: Any) -> None:
        host = {
            "name": "box",
            "address": self.host.address,
            "ssh_user": USER,
            "ssh_key": str(self.host.key),
            "sudo": True,
            "gpus": "1x h100",
            "driver": self.repositories.settings() | driver,
        }
        self.write_settings(SETTINGS | {"hosts": [host]})

    def versions(self) -> dict[str, str]:
        """What rpm says is installed."""
        listed = self.host.run("rpm -qa --qf '%{NAME} %{VERSION}\n'")
        return dict(line.split() for line in listed.splitlines())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("rhel")
    try:
        host = start_host(NAME, directory, image=build_image(), restarts=True)
        docker("update", "--restart", "always", NAME)
        become_rhel(host)
        fake_driver.add_cards(host, 1)
        repositories = Repositories(host, tmp_path_factory.mktemp("keys"))
        repositories.new_key()
        repositories.publish_others()
        for version in (OLDER, VERSION, OTHER_BRANCH):
            repositories.publish(version)
        site = Site(directory, host, repositories)
        site.declare()
        yield site
    finally:
        remove_host(NAME)


def test_a_key_that_is_another_one_is_refused(site: Site) -> None:
    site.declare(key_fingerprint="A" * 40)
    result = site.deploy()
    site.declare()
    assert result.status == 1
    assert f"has the key {site.repositories.fingerprint}, not {'A' * 40}" in result.output
    assert "nvidia" not in site.host.run("ls /etc/yum.repos.d /etc/pki/rpm-gpg", check=False)


def test_a_package_that_is_not_there(site: Site) -> None:
    site.repositories.withdraw("nvidia-persistenced")
    result = site.deploy()
    for version in (OLDER, VERSION, OTHER_BRANCH):
        site.repositories.publish(version)
    assert result.status == 1, result.output
    assert "nvidia-persistenced" in result.output
    assert "the repository does not have this package" in result.output
    assert not {*DRIVER} & site.versions().keys()


def test_the_newest_of_the_stream_and_not_of_the_repository(site: Site) -> None:
    done = site.deploy()
    assert done.status == 0, done.output
    versions = site.versions()
    assert {versions[name] for name in DRIVER} == {VERSION}
    assert {versions[name] for name in TOOLKIT} == {"1.20.0"}
    # dkms comes from EPEL, which was not there before
    assert versions["dkms"] == "3.2.1"
    assert f"kernel-devel-{KERNEL}" in site.host.run("rpm -qa")
    stream = site.host.run("dnf -q module list --enabled nvidia-driver")
    assert "580-open [e]" in stream
    locked = site.host.run("dnf -q versionlock list")
    assert all(f"{name}-3:{VERSION}-1.el9.*" in locked for name in (*DRIVER, LIBRARY))
    assert site.host.run("cat /sys/module/nvidia/version") == VERSION
    again = site.deploy()
    assert again.changes == [], again.output


def test_what_serves_is_not_upgraded_unasked(site: Site) -> None:
    site.repositories.publish(NEWER)
    assert site.deploy().changes == []
    # a library that is not locked would be newer, and an error: the driver wants its own
    site.host.run("dnf -q -y --refresh upgrade")
    assert {site.versions()[name] for name in (*DRIVER, LIBRARY)} == {VERSION}


@pytest.mark.parametrize("version", [NEWER, OLDER])
def test_a_version_that_is_declared(site: Site, version: str) -> None:
    """Newer or older, in one transaction, and locked again."""
    site.declare(version=version, reboot="allowed")
    done = site.deploy()
    assert done.status == 0, done.output
    assert {site.versions()[name] for name in DRIVER} == {version}
    locked = site.host.run("dnf -q versionlock list")
    assert sorted(line for line in locked.splitlines() if "nvidia-driver" in line) == [
        f"nvidia-driver-cuda-3:{version}-1.el9.*"
    ]
    assert site.host.run("cat /sys/module/nvidia/version") == version
    assert site.deploy().changes == []


def test_another_flavour_is_another_stream(site: Site) -> None:
    """One module goes and the other comes in one transaction."""
    site.declare(flavour="proprietary", reboot="allowed")
    done = site.deploy()
    # the fake module always says that it is the open one
    assert "kmod-nvidia-latest-dkms" in site.versions(), done.output
    assert "kmod-nvidia-open-dkms" not in site.versions()
    assert "580-dkms [e]" in site.host.run("dnf -q module list --enabled nvidia-driver")


def test_a_branch_that_has_ended_is_refused(site: Site) -> None:
    before = site.versions()
    site.declare(branch="610", reboot="allowed")
    refused = site.deploy()
    assert refused.status == 1
    assert "branch 610 has had no updates since 2026-08" in refused.output
    assert "allowed: 580, 620, 595" in refused.output
    assert site.versions() == before


def test_packages_that_are_signed_with_another_key(site: Site) -> None:
    before = site.versions()
    site.declare(version=NEWEST, reboot="allowed")
    old = site.repositories.fingerprint
    site.repositories.new_key()
    site.repositories.publish(NEWEST)
    refused = site.deploy()
    assert refused.status == 1
    said = "signed with another key than the one that is pinned"
    assert said in refused.output, refused.output
    assert site.versions() == before
    assert old != site.repositories.fingerprint
    site.declare(version=NEWEST, reboot="allowed")
    done = site.deploy()
    assert done.status == 0, done.output
    assert {site.versions()[name] for name in DRIVER} == {NEWEST}


def test_another_branch_is_another_stream(site: Site) -> None:
    """Up and down again; each time all packages in one transaction, and locked."""
    site.repositories.publish(OTHER_BRANCH)
    for branch, version in (("595", OTHER_BRANCH), ("580", NEWEST)):
        site.declare(branch=branch, reboot="allowed")
        done = site.deploy()
        assert done.status == 0, done.output
        assert {site.versions()[name] for name in (*DRIVER, LIBRARY)} == {version}
        enabled = site.host.run("dnf -q module list --enabled nvidia-driver")
        assert f"{branch}-open [e]" in enabled
        locked = site.host.run("dnf -q versionlock list")
        assert all(f"{name}-3:{version}-1.el9.*" in locked for name in (*DRIVER, LIBRARY))
        assert site.host.run("cat /sys/module/nvidia/version") == version
        again = site.deploy()
        assert again.changes == [], again.output
