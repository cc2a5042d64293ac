"""What is asked of a Mac, with the tools that it has."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from deploy.facts.files import Contents, PathState, PathStates
from deploy.facts.mac import Mac, MacHost
from deploy.facts.surroundings import Surroundings
from deploy.facts.units import FileState, Units
from deploy.hosts.mac.state import MacState
from deploy.hosts.state import FileSystem, HostState
from tests.fake_mac import FakeMac


@pytest.fixture
def mac(tmp_path: Path) -> FakeMac:
    return FakeMac(tmp_path / "mac")


def look(mac: FakeMac, directory: str, files: list[str]) -> HostState:
    shell = MacHost().command(deployment="demo", directory=directory, files=files, docker_root="/d")
    done = mac.shell(shell)
    assert (done.returncode, done.stderr) == (0, "")
    return MacHost().process(done.stdout.splitlines())


def test_a_mac(mac: FakeMac) -> None:
    there = mac.directory / "a file"
    there.write_text("12345")
    (mac.directory / "sockets").write_text(
        "tcp4       0      0  *.22                   *.*                    LISTEN\n"
        "tcp6       0      0  ::1.631                *.*                    LISTEN\n"
        "tcp4       0      0  10.0.0.21.8000         *.*                    LISTEN\n"
        "tcp4       0      0  10.0.0.21.8000         10.0.0.20.51000        ESTABLISHED\n"
    )
    found = look(mac, f"{mac.directory}/not/there", [str(there), "/none"])
    assert found.memory_bytes == 256 * 1024**3
    assert found.listening_ports == {22, 631, 8000}
    assert found.file_sizes == {str(there): 5}
    system = found.system
    assert (system.id, system.name, system.version) == ("macos", "macOS 15.5", "15.5")
    assert (system.kernel, system.architecture, system.is_root) == ("Darwin arm64", "arm64", True)
    assert found.file_systems["directory"] == FileSystem(
        mount="/System/Volumes/My Data",
        device="/dev/disk3s5",
        free_bytes=500000000 * 1024,
        is_writable=True,
    )
    assert set(found.file_systems) == {"directory", "volumes", "temporary files"}
    assert found.engine_version is None
    assert found.clock_seconds


def test_a_file_where_the_directory_should_be(mac: FakeMac) -> None:
    (mac.directory / "file").touch()
    assert look(mac, f"{mac.directory}/file/x", []).blocked_by == f"{mac.directory}/file"


def settings(mac: FakeMac, account: str = "ollama", haproxy: str = "/none") -> MacState:
    done = mac.shell(Mac().command(account=account, haproxy=haproxy))
    assert (done.returncode, done.stderr) == (0, "")
    return Mac().process(done.stdout.splitlines())


def test_settings_of_a_mac(mac: FakeMac) -> None:
    assert settings(mac) == MacState(
        chip="Apple M3 Ultra",
        memory_bytes=256 * 1024**3,
        wired_limit_mib=0,
        # on mains power, and only those that are looked after
        power={"sleep": "1", "disksleep": "10", "autorestart": "0"},
        accounts=frozenset({"ollama"}),
    )
    (mac.directory / "filevault").write_text("FileVault is On.\n")
    (mac.directory / "limit").unlink()
    found = settings(mac, account="nadia")
    assert (found.has_filevault, found.accounts, found.wired_limit_mib) == (True, frozenset(), None)


def test_haproxy_is_asked_as_the_account_that_will_run_it(mac: FakeMac) -> None:
    program = mac.directory / "haproxy"
    program.write_text('#!/bin/sh\n[ "$*" = -v ] && echo "HAProxy version 3.3.6"; echo more\n')
    program.chmod(0o755)
    assert settings(mac, haproxy=str(program)).haproxy == "HAProxy version 3.3.6"
    assert "sudo ollama" in mac.log
    assert settings(mac, account="nadia", haproxy=str(program)).haproxy == ""


def test_configuration_files_of_a_mac(mac: FakeMac) -> None:
    """Without GNU's stat and sha256sum, and with a base64 that breaks lines."""
    current = mac.directory / "config" / "link-server" / "current"
    current.mkdir(parents=True)
    key = current / "link.pem.key"
    key.write_text("x" * 200)
    key.chmod(0o600)
    shell = Units().command(deployment="demo", directory=str(mac.directory), names=())
    found = Units().process(mac.shell(shell).stdout.splitlines())
    digest = hashlib.sha256(key.read_bytes()).hexdigest()
    assert found.releases == {str(current): {"link.pem.key": FileState(0o600, digest)}}
    assert abs(found.changed_at[str(current)] - time.time()) < 60
    assert found.memory_bytes == 256 * 1024**3
    text = mac.shell(Contents().command(paths=[str(key)])).stdout.splitlines()
    assert Contents().process(text) == {str(key): "x" * 200}


def test_files_of_a_mac(mac: FakeMac) -> None:
    path = mac.directory / "it's"
    path.write_text("123")
    path.chmod(0o640)
    done = mac.shell(PathStates().command(paths=[str(path), "/none"]))
    assert PathStates().process(done.stdout.splitlines()) == {str(path): PathState(3, 0o640)}


def test_names_are_looked_up_without_getent(mac: FakeMac) -> None:
    lookup = mac.directory / "bin" / "dscacheutil"
    lookup.write_text(
        '#!/bin/sh\n[ "$*" = "-q host -a name known.lab" ] && echo "name: known.lab"\n'
    )
    lookup.chmod(0o755)
    done = mac.shell(Surroundings().command(urls=(), names=("known.lab", "none.lab")))
    found = Surroundings().process(done.stdout.splitlines())
    assert found.resolved == {"known.lab": True, "none.lab": False}
