"""What is set up on a Mac: worked out, done by the script, and looked at again."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import pytest

from deploy.facts.mac import Mac
from deploy.hosts.mac.setup import LIMIT, ROTATION, MacStep, daemons, mac_setup
from deploy.hosts.mac.state import MacState
from deploy.spec import HostSpec
from tests.fake_mac import FakeMac
from tests.services.test_launchd import DOCUMENTED, MAC


@pytest.fixture
def mac(tmp_path: Path) -> FakeMac:
    return FakeMac(tmp_path / "mac")


def declared(**more: Any) -> HostSpec:
    return HostSpec.model_validate(MAC | more)


def look(mac: FakeMac) -> MacState:
    shell = Mac().command(account="ollama", haproxy="/none")
    return Mac().process(mac.shell(shell).stdout.splitlines())


def carry_out(mac: FakeMac, spec: HostSpec) -> tuple[MacStep, ...]:
    """Do what is to be done."""
    steps = mac_setup(spec, look(mac))
    for step in steps:
        done = mac.script("mac.sh", *step.arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    return steps


def told(steps: tuple[MacStep, ...]) -> list[tuple[str, str]]:
    return [(step.change.action, step.change.resource) for step in steps]


def test_a_first_time_and_a_second_one(mac: FakeMac) -> None:
    spec = declared(wired_limit_mib=200_000)
    first = carry_out(mac, spec)
    assert told(first) == [
        ("update", "power settings"),
        ("update", "memory of the GPU"),
        ("create", f"service {LIMIT}"),
        ("create", f"service {ROTATION}"),
    ]
    fields = [(f.field, f.old, f.new) for step in first[:2] for f in step.change.fields]
    assert fields == [
        ("sleep", "1", "0"),
        ("disksleep", "10", "0"),
        ("autorestart", "0", "1"),
        ("iogpu.wired_limit_mb", "macOS' own", "200000"),
    ]
    assert (mac.directory / "power").read_text() == "sleep 0\ndisksleep 0\nwomp 1\nautorestart 1\n"
    assert (mac.directory / "limit").read_text() == "200000\n"
    assert mac.names("launchd/loaded") == {LIMIT, ROTATION}
    assert carry_out(mac, spec) == ()


def test_the_limit_of_before_is_given_back(mac: FakeMac) -> None:
    carry_out(mac, declared(wired_limit_mib=200_000))
    assert told(carry_out(mac, declared())) == [
        ("update", "memory of the GPU"),
        ("remove", f"service {LIMIT}"),
    ]
    assert (mac.directory / "limit").read_text() == "0\n"
    assert mac.names("LaunchDaemons") == {f"{ROTATION}.plist"}
    assert carry_out(mac, declared()) == ()


def test_a_limit_that_somebody_else_set_is_left_alone(mac: FakeMac) -> None:
    (mac.directory / "limit").write_text("150000\n")
    carry_out(mac, declared())
    assert (mac.directory / "limit").read_text() == "150000\n"


def test_what_a_restart_or_a_hand_changed_is_mended(mac: FakeMac) -> None:
    spec = declared(wired_limit_mib=200_000)
    carry_out(mac, spec)
    (mac.directory / "limit").write_text("0\n")
    (mac.directory / "LaunchDaemons" / f"{LIMIT}.plist").write_text("edited")
    (mac.directory / "launchd" / "loaded" / ROTATION).unlink()
    assert told(carry_out(mac, spec)) == [
        ("update", "memory of the GPU"),
        ("recreate", f"service {LIMIT}"),
        ("start", f"service {ROTATION}"),
    ]
    assert carry_out(mac, spec) == ()


def test_settings_that_a_mac_does_not_have_are_not_wanted() -> None:
    found = MacState(power={"sleep": "0", "disksleep": "0"}, wired_limit_mib=0)
    assert "power settings" not in [step.change.resource for step in mac_setup(declared(), found)]


def test_a_limit_that_macos_does_not_take(mac: FakeMac) -> None:
    sysctl = mac.directory / "bin" / "sysctl"
    sysctl.write_text("#!/bin/sh\n[ $1 != -n ] || echo 0\n")
    sysctl.chmod(0o755)
    done = mac.script("mac.sh", "limit", "5000", PATH=f"{mac.directory}/bin")
    assert (done.returncode, done.stdout) == (1, "iogpu.wired_limit_mb is 0, not 5000\n")


def test_what_launchd_reads() -> None:
    found = daemons(declared(wired_limit_mib=200_000))
    parsed = {label: plistlib.loads(text.encode()) for label, text in found.items()}
    for label, keys in parsed.items():
        assert {name: type(value) for name, value in keys.items()} == {
            name: DOCUMENTED[name] for name in keys
        }
        assert keys["Label"] == label
        assert keys["RunAtLoad"] is True
    assert parsed[LIMIT]["ProgramArguments"] == [
        "/usr/sbin/sysctl",
        "iogpu.wired_limit_mb=200000",
    ]
    assert list(daemons(declared())) == [ROTATION]


def rotate(mac: FakeMac) -> None:
    """Run what the daemon runs, in the Mac's own directory of logs."""
    text = daemons(declared())[ROTATION]
    _, _, script, _, _ = plistlib.loads(text.encode())["ProgramArguments"]
    small = script.replace("limit=52428800", "limit=10")
    assert small != script
    assert mac.shell(small, f"{mac.directory}/logs").returncode == 0


def test_large_logs_are_put_aside_and_emptied(mac: FakeMac) -> None:
    logs = mac.directory / "logs"
    logs.mkdir()
    (logs / "small.log").write_text("short\n")
    log = logs / "large.log"
    with log.open("a") as daemon:
        for n in range(8):
            daemon.write(f"a long line, number {n}\n")
            daemon.flush()
            rotate(mac)
        # launchd opened it to append: what comes next is at its beginning
        daemon.write("next\n")
    assert log.read_text() == "next\n"
    assert (logs / "small.log").read_text() == "short\n"
    kept = sorted(mac.names("logs") - {"small.log", "large.log"})
    assert kept == [f"large.log.{n}.gz" for n in range(1, 6)]
    assert "number 7" in mac.shell(f"gzip -dc {logs}/large.log.1.gz").stdout
