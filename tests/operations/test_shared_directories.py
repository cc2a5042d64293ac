"""Two hosts that keep their files in one directory of a file server."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from pyinfra.context import ctx_host, ctx_state

from deploy.facts.engine import Resources
from deploy.facts.host import Host
from deploy.hosts.state import FileSystem, HostState
from deploy.operations import precheck
from deploy.operations.questions import subject_of
from tests.conftest import MakeArtefacts
from tests.operations.harness import FakeHost

GIB = 1024**3
NFS = FileSystem("/home", "51", 900 * GIB, pool="nfs4=nas:/export/home")
FOUND = HostState(engine_version="24.0.5", memory_bytes=64 * GIB)


@pytest.mark.parametrize(
    ("system", "second", "refused"),
    [
        (NFS, "/home/me/atelier", ["", "directory"]),
        (NFS, "/home/me/atelier-b", ["", ""]),
        (replace(NFS, pool=""), "/home/me/atelier", ["", ""]),
    ],
)
def test_the_second_one_is_refused(
    system: FileSystem, second: str, refused: list[str], make: MakeArtefacts
) -> None:
    """Which ends the run for both; each would remove the other's configuration."""
    directories = {"a": "/home/me/atelier", "b": second}
    made = make(
        hosts=[
            {"name": name, "address": f"10.0.0.{number}", "directory": directory}
            for number, (name, directory) in enumerate(directories.items(), start=1)
        ],
        router={"host": "a"},
    )
    found = replace(FOUND, file_systems={"directory": system})
    hosts = [FakeHost({Host: found, Resources: {}}, name=name) for name in directories]
    said = []
    for host in hosts:
        state = SimpleNamespace(is_executing=False, inventory=hosts)
        with ctx_state.use(state), ctx_host.use(host):
            subject = subject_of(made, host.name)
            said.append(precheck.refusal(made.plan.name, subject, made.secrets))
    assert [text and "directory" for text in said] == refused
    assert ("is the same directory as that of a" in said[1]) is bool(refused[1])
