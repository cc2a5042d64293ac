"""Directories, networks and architectures of hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.catalog import Catalog
from deploy.hosts.address_ranges import DEFAULT_POOLS, free_range
from deploy.hosts.place_checks import (
    architecture_findings,
    directory_findings,
    network_findings,
)
from deploy.hosts.state import Daemon, FileSystem, HostState, System
from deploy.images import ImageArchive, make_build_plan, resolve
from deploy.local_file import LocalFile
from deploy.spec import HostSpec

HERE = FileSystem("/srv", "1", 100 * 1024**3)


def directory(found: HostState, **spec: Any) -> list[tuple[str, str]]:
    findings = list(directory_findings(HostSpec(name="gpu1", **spec), found))
    assert all(finding.fix and finding.status == "problem" for finding in findings)
    return [(finding.name, finding.found) for finding in findings]


def test_a_directory_that_can_be_written_to_is_fine() -> None:
    assert directory(HostState(file_systems={"directory": HERE})) == []


def test_directories_that_cannot_be_made() -> None:
    closed = HostState(file_systems={"directory": replace(HERE, is_writable=False)})
    assert directory(closed) == [
        ("directory", "this user may not write to /var/lib/atelier, or may not make it")
    ]
    frozen = replace(HERE, is_writable=False, is_read_only=True)
    assert directory(HostState(file_systems={"directory": frozen})) == [
        ("directory", "/var/lib/atelier is on /srv, which is mounted read-only")
    ]
    assert directory(HostState(blocked_by="/srv/x"), directory="/srv/x/atelier") == [
        ("directory", "/srv/x is a file, and /srv/x/atelier is to be a directory")
    ]


def test_temporary_files_that_nobody_may_write() -> None:
    found = HostState(file_systems={"temporary files": replace(HERE, is_writable=False)})
    assert directory(found)[0][0] == "temporary files"


@pytest.mark.parametrize(
    ("daemon", "path", "is_seen"),
    [
        (Daemon(root="/var/snap/docker/common/var-lib-docker"), "/var/lib/atelier", False),
        (Daemon(root="/var/snap/docker/common/var-lib-docker"), "/home/me/atelier", True),
        (Daemon(operating_system="Docker Desktop"), "/var/lib/atelier", False),
        (Daemon(operating_system="Docker Desktop"), "/Users/me/atelier", True),
        (Daemon(root="/var/lib/docker", operating_system="Ubuntu 24.04"), "/srv/x", True),
        (Daemon(endpoint="unix:///run/user/1000/docker.sock"), "/srv/x", True),
        (Daemon(endpoint="tcp://10.0.0.9:2376"), "/srv/x", False),
        (Daemon(endpoint="ssh://me@gpu2"), "/srv/x", False),
    ],
)
def test_directories_that_docker_does_not_see(daemon: Daemon, path: str, is_seen: bool) -> None:
    found = HostState(daemon=daemon, file_systems={"directory": HERE})
    assert (directory(found, directory=path) == []) is is_seen


# address ranges

ALL = tuple(base for base, _ in DEFAULT_POOLS)


@pytest.mark.parametrize(
    ("pools", "taken", "free"),
    [
        ((), ["172.17.0.0/16"], "172.18.0.0/16"),
        ((), ["172.16.0.0/12"], "192.168.0.0/20"),
        ((), ["172.16.0.0/12", "192.168.0.0/24"], "192.168.16.0/20"),
        ((), ALL, None),
        ([("172.18.0.0/16", 16)], ["172.18.0.0/16"], None),
        ([("10.200.0.0/16", 24)], ["10.200.0.0/23", "fd00::/64"], "10.200.2.0/24"),
        # all of a VPN that takes every route
        ((), ["0.0.0.0/1", "128.0.0.0/1"], None),
    ],
)
def test_a_range_that_overlaps_nothing(pools: Any, taken: list[str], free: str | None) -> None:
    found = free_range(pools, taken)
    assert (str(found) if found else None) == free


def network(daemon: Daemon, **spec: Any) -> list[str]:
    found = HostState(engine_version="24.0.5", daemon=daemon)
    return [item.status for item in network_findings(HostSpec(name="gpu1", **spec), found)]


def test_docker_without_a_range_for_one_more_network() -> None:
    small = Daemon(pools=(("172.18.0.0/16", 16),), subnets=("172.18.0.0/16",))
    assert network(small) == ["problem"]
    # it needs no more where it has its own
    assert network(replace(small, has_network=True)) == []
    # those that it will have
    pools = [{"base": "10.200.0.0/16", "size": 24}]
    assert network(small, docker_settings={"default-address-pools": pools}) == []


def test_routes_are_only_a_warning() -> None:
    """Newer Dockers mind fewer routes than older ones."""
    vpn = Daemon(subnets=("172.17.0.0/16",), routes=("0.0.0.0/1", "128.0.0.0/1"))
    assert network(vpn) == ["warning"]
    assert network(Daemon(subnets=("172.17.0.0/16",), routes=("10.0.0.0/8",))) == []


# architectures


def refused(demo: Artefacts, kernel: str, **changes: Any) -> list[tuple[str, str]]:
    use = replace(demo.images["litellm"], **changes)
    found = HostState(system=System(kernel=kernel))
    return [(item.found, item.fix) for item in architecture_findings([use], found)]


@pytest.mark.parametrize(
    ("kernel", "published_for", "is_refused"),
    [
        ("Linux x86_64", ("amd64", "arm64"), False),
        ("Linux aarch64", ("amd64", "arm64"), False),
        ("Linux aarch64", ("amd64",), True),
        ("Linux riscv64", ("amd64", "arm64"), True),
        ("Linux aarch64", (), False),
        ("", ("amd64",), False),
    ],
)
def test_images_that_are_pulled(
    demo: Artefacts, kernel: str, published_for: tuple[str, ...], is_refused: bool
) -> None:
    assert bool(refused(demo, kernel, published_for=published_for)) is is_refused


def test_images_of_archives_and_builds(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    reference = demo.images["litellm"].image.reference
    file = LocalFile(Path("/x.tar"), 1, "0" * 64)
    archive = ImageArchive(file, 1, {reference: ["sha256:1"]}, {reference: ["amd64"]})
    [(found, fix)] = refused(demo, "Linux aarch64", archive=archive)
    assert found == f"the host is arm64, and {reference} is for amd64"
    assert "atelier images INVENTORY --save" in fix
    # what is built here runs on what this machine's Docker is
    monkeypatch.setattr(resolve, "build_architecture", lambda: "amd64")
    build = make_build_plan("litellm", catalog)
    [(found, fix)] = refused(demo, "Linux aarch64", build=build)
    assert "deploy from a machine that is arm64" in fix
    assert refused(demo, "Linux x86_64", build=build) == []
    monkeypatch.setattr(resolve, "build_architecture", lambda: "")
    assert refused(demo, "Linux aarch64", build=build) == []
