"""Directories on file servers that more than one host has."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.hosts.shared_directories import place_on_server, shared_findings
from deploy.hosts.state import FileSystem
from deploy.spec import HostSpec

HOME = FileSystem("/home", "51", 1, pool="nfs4=nas:/export/home")


def spec(directory: str, name: str = "gpu2") -> HostSpec:
    return HostSpec.model_validate({"name": name, "directory": directory})


@pytest.mark.parametrize(
    ("system", "directory", "place"),
    [
        (HOME, "/home/me/atelier", "nas:/export/home/me/atelier"),
        # another mount of the same server, deeper in it
        (
            FileSystem("/nfs/me", "7", 1, pool="nfs=nas:/export/home/me"),
            "/nfs/me/atelier",
            "nas:/export/home/me/atelier",
        ),
        (FileSystem("/s", "7", 1, pool="cifs=//nas/lab"), "/s/x", "//nas/lab/x"),
        (FileSystem("/l", "7", 1, pool="lustre=10.0.0.1@tcp:/l"), "/l/x", "10.0.0.1@tcp:/l/x"),
        # df tells where a link leads to
        (HOME, "/h/atelier", "nas:/export/home/h/atelier"),
        (FileSystem("/", "7", 1, pool="zfs=tank"), "/var/lib/atelier", ""),
        (FileSystem("/", "7", 1), "/var/lib/atelier", ""),
        (None, "/var/lib/atelier", ""),
    ],
)
def test_where_a_directory_is(system: FileSystem | None, directory: str, place: str) -> None:
    assert place_on_server(spec(directory), system) == place


@pytest.mark.parametrize(
    ("others", "is_refused"),
    [
        ({"gpu1": "nas:/export/home/me/atelier"}, True),
        ({"gpu1": "nas:/export/home/me/atelier-gpu1", "gpu3": ""}, False),
        ({}, False),
    ],
)
def test_a_directory_of_two_hosts(others: dict[str, str], is_refused: bool) -> None:
    found: list[Any] = list(shared_findings(spec("/home/me/atelier"), HOME, others))
    assert [each.status for each in found] == ["problem"] * is_refused
    if is_refused:
        assert "gpu1" in found[0].found
        assert "directory='/home/me/atelier-gpu2'" in found[0].fix


def test_hosts_with_directories_of_their_own_are_no_pair() -> None:
    plain = FileSystem("/", "65025", 1)
    assert list(shared_findings(spec("/var/lib/atelier"), plain, {"gpu1": ""})) == []
