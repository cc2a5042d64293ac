"""What systemd and a unit file say of a service."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.facts.programs import OldPrograms
from deploy.facts.services import parse_holds, parse_services, split_services

# as printed by a Debian 12 host, some lines left out
SAID = """
@directories
@service e2e-llama-cpp-tiny-coder-0
ActiveState=active
SubState=running
UnitFileState=enabled
ActiveEnterTimestamp=Sat 2026-11-28 16:27:06 UTC
NRestarts=0
MemoryCurrent=64557056
started=1795883226
now=1795883300
unit_sha256=aa
environment_sha256=bb
health=yes
Deployment=e2e
Service=llama-cpp
Holds={"gpus":{},"ports":[8000]}
Health=curl http://10.0.0.7:8000/health?a=b
StartPeriod=180
Spec={"name":"e2e-llama-cpp-tiny-coder-0","env":{"A":"b=c"}}
@service theirs
ActiveState=inactive
SubState=dead
UnitFileState=disabled
started=
now=1795883300
unit_sha256=cc
@containers
row
""".strip().splitlines()


def test_services_are_told_from_the_rest() -> None:
    rest, services = split_services(SAID)
    assert rest == ["@directories", "@containers", "row"]
    assert list(services) == ["e2e-llama-cpp-tiny-coder-0", "theirs"]


def test_a_service_that_runs() -> None:
    own, theirs = parse_services(split_services(SAID)[1]).values()
    assert (own.state, own.health, own.deployment) == ("running", "healthy", "e2e")
    assert own.spec == {"name": "e2e-llama-cpp-tiny-coder-0", "env": {"A": "b=c"}}
    assert own.holds.ports == {8000}
    assert own.starts_with_host
    assert own.files == {"unit file": "aa", "environment file": "bb"}
    assert (theirs.state, theirs.deployment, theirs.spec) == ("exited", None, None)


def test_one_that_does_not_answer_has_its_time_to_start() -> None:
    def health(**said: str) -> str | None:
        facts = {"ActiveState": "active", "SubState": "running", "now": "1000", "health": "no"}
        lines = [f"{name}={value}" for name, value in (facts | said).items()]
        [service] = parse_services({"x": lines}).values()
        return service.health

    assert health(started="900", StartPeriod="180") == "starting"
    assert health(started="800", StartPeriod="180") == "unhealthy"
    assert health(started="") == "unhealthy"


def test_one_that_starts_again_and_again() -> None:
    lines = ["ActiveState=activating", "SubState=auto-restart", "health=no", "said=no such file"]
    [service] = parse_services({"x": lines}).values()
    assert (service.state, service.last_line) == ("restarting", "no such file")


def test_the_ports_that_services_hold() -> None:
    rows = ['{"gpus":{},"ports":[8000]}', '{"gpus":{},"ports":[8001]}', "not JSON"]
    assert parse_holds(rows) == {8000, 8001}


def test_every_version_of_a_program(tmp_path: Path) -> None:
    place = tmp_path / "it's programs"
    for version in ("abc", "def"):
        (place / "llama-server" / version / "files").mkdir(parents=True)
        (place / "llama-server" / version / "files" / "x").write_bytes(b"x" * 50_000)
    (place / "llama-server" / "abc.archive").write_text("half of one")
    command = OldPrograms().command(str(place))
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")
    found = OldPrograms().process(said.stdout.splitlines())
    assert [each.path for each in found] == [
        f"{place}/llama-server/{version}" for version in ("abc", "def")
    ]
    assert all(50_000 <= each.size_bytes < 100_000 for each in found)
    assert not any(each.is_used for each in found)
