"""Directories, networks and architectures of hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.catalog import Catalog
from deploy.hosts.address_ranges import DEFAULT_POOLS, free_range
from deploy.hosts.network_checks import network_findings
from deploy.hosts.place_checks import (
    architecture_findings,
    directory_findings,
    kept_findings,
)
from deploy.hosts.room import Need
from deploy.hosts.state import Daemon, FileSystem, HostState, System
from deploy.images import ImageArchive, make_build_plan, resolve
from deploy.local_file import LocalFile
from deploy.spec import HostSpec

HERE = FileSystem("/srv", "1", 100 * 1024**3)


def directory(found: HostState, cache: str = "", **spec: Any) -> list[tuple[str, str]]:
    findings = list(directory_findings(HostSpec(name="gpu1", **spec), found, cache))
    assert all(finding.fix and finding.status == "problem" for finding in findings)
    return [(finding.name, finding.found) for finding in findings]


def test_a_directory_that_can_be_written_to_is_fine() -> None:
    assert directory(HostState(file_systems={"directory": HERE})) == []


def test_directories_that_cannot_be_made() -> None:
    closed = HostState(file_systems={"directory": replace(HERE, is_writable=False)})
    assert directory(closed) == [
        ("directory", "this user may not write to /var/lib/atelier, or may not make it")
    ]
    # sudo is of no help to root: NFS with root_squash
    of_root = replace(closed, system=System(is_root=True))
    [(_, said)] = directory(of_root)
    assert said.startswith("root may not write to /var/lib/atelier")
    [finding] = directory_findings(HostSpec(name="gpu1"), of_root)
    assert "root_squash" in finding.fix
    assert "sudo" not in finding.fix
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
        (Daemon(endpoint="tcp://[::1"), "/srv/x", False),
        (Daemon(endpoint="tcp://gpu9:2375"), "/srv/x", False),
        # the host itself
        (Daemon(endpoint="tcp://127.0.0.1:2375"), "/srv/x", True),
        (Daemon(endpoint="tcp://localhost:2376"), "/srv/x", True),
        (Daemon(endpoint="tcp://[::1]:2376"), "/srv/x", True),
        (Daemon(endpoint="tcp://10.0.0.5:2376"), "/srv/x", True),
        # Rancher Desktop, Colima
        (Daemon(operating_system="Alpine Linux v3.20", other_kernel="6.6.0"), "/srv/x", False),
        (Daemon(operating_system="Alpine Linux v3.20", other_kernel="6.6.0"), "/home/me/x", True),
        (Daemon(operating_system="Docker Desktop", other_kernel="6.6.0"), "/tmp/x", True),
        # a snap sees no hidden files of home directories
        (Daemon(root="/var/snap/docker/common/var-lib-docker"), "/home/me/.atelier", False),
        (Daemon(root="/var/snap/docker/common/var-lib-docker"), "/home/me/x/.atelier", True),
    ],
)
def test_directories_that_docker_does_not_see(daemon: Daemon, path: str, is_seen: bool) -> None:
    addresses = frozenset({"127.0.0.1", "10.0.0.5"})
    found = HostState(daemon=daemon, addresses=addresses, file_systems={"directory": HERE})
    assert (directory(found, directory=path) == []) is is_seen


def test_a_cache_that_docker_does_not_see() -> None:
    found = HostState(daemon=Daemon(root="/var/snap/docker/common/var-lib-docker"))
    here, cache = "/home/me/atelier", "/srv/huggingface"
    assert directory(found, cache, directory=here) == [
        ("huggingface_cache", "Docker here is a snap, and does not see /srv/huggingface")
    ]
    assert directory(found, "/home/me/huggingface", directory=here) == []


def kept(found: HostState, *needs: Need) -> list[tuple[str, str]]:
    findings = list(kept_findings(found, needs, "/data/huggingface"))
    assert all(finding.fix and finding.status == "problem" for finding in findings)
    return [(finding.name, finding.found) for finding in findings]


def test_a_disk_of_docker_that_became_read_only() -> None:
    frozen = replace(HERE, is_read_only=True, is_writable=False)
    found = HostState(file_systems={"images": frozen, "volumes": frozen, "directory": HERE})
    assert kept(found) == [
        ("disk", "/srv, where Docker keeps its images and volumes, is mounted read-only")
    ]
    # this user need not be able to write there, and what is in another machine is not there
    closed = replace(HERE, is_writable=False)
    assert kept(HostState(file_systems={"images": closed, "volumes": closed})) == []
    assert kept(replace(found, daemon=Daemon(other_kernel="6.6.0"))) == []


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (HERE, ""),
        (replace(HERE, is_writable=False), "this user may not write to /data/huggingface"),
        (replace(HERE, is_read_only=True, is_writable=False), "which is mounted read-only"),
    ],
)
def test_a_cache_that_weights_are_to_come_to(system: FileSystem, said: str) -> None:
    """One with everything in it may well be read-only."""
    found = HostState(file_systems={"weights": system})
    refused = kept(found, Need("weights of lab/coder", "weights", 1))
    assert [name for name, text in refused if said in text] == ["huggingface_cache"] * bool(said)
    assert len(refused) == bool(said)
    assert kept(found, Need("weights of lab/coder", "weights", 0)) == kept(found) == []


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


@pytest.mark.parametrize(
    "pools",
    [
        "10.200.0.0/16",
        [{"base": "10.200.0.0/33", "size": 24}],
        [{"base": "10.200.0.0/16", "size": 33}],
        [{"base": "10.200.0.0/16", "size": 8}],
        [{"base": "10.200.0.0/16", "size": "24"}],
        [{"base": "10.200.0.0/16"}],
        ["10.200.0.0/16"],
        {"base": "10.200.0.0/16", "size": 24},
        24,
    ],
)
@pytest.mark.parametrize("version", ["24.0.5", None])
def test_pools_that_docker_would_not_take(pools: Any, version: str | None) -> None:
    """Also where it is still to be installed."""
    spec = HostSpec(name="gpu1", docker_settings={"default-address-pools": pools})
    [finding] = network_findings(spec, HostState(engine_version=version))
    assert (finding.status, "10.200.0.0/16" in finding.fix) == ("problem", True)


def test_pools_that_docker_takes() -> None:
    pools = [{"base": "10.200.0.1/16", "size": 24}, {"base": "fd00::/48", "size": 64}]
    assert network(Daemon(), docker_settings={"default-address-pools": pools}) == []
    assert network(Daemon(), docker_settings={"default-address-pools": []}) == []


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
        ("Linux armv8l", ("amd64", "arm"), False),
        ("Linux armv8l", ("amd64", "arm64"), True),
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
