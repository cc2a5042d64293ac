"""The steps of the driver's script that need no package manager, in a directory of the test."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.scripts import read_script
from tests.gpg import gpg
from tests.serving import running

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="its lock is a file of root"),
    pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed"),
]


def run(
    *arguments: str, stdin: str = "", tools: Path | None = None, dkms: Path | None = None
) -> tuple[int, str]:
    """Exit status and output of one step; where DKMS builds is another place.

    It times out where a step leaves something that keeps its output open: whoever reads it over SSH
    waits for the end of that.
    """
    script = read_script("driver.sh").replace("/var/lib/dkms", str(dkms or "/var/lib/dkms"))
    script = script.replace("tick_seconds=15", "tick_seconds=3600")
    path = f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"]
    finished = subprocess.run(
        ["sh", "-c", script, "atelier", *arguments],
        input=stdin,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return finished.returncode, finished.stdout + finished.stderr


class Keys:
    """Keys that are served over HTTP."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url

    def make(self, *names: str) -> list[str]:
        """Serve a file with a key for each name; their fingerprints."""
        home = self.directory / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        for name in names:
            gpg(home, "--passphrase", "", "--quick-generate-key", name, "rsa2048")
        (self.directory / "key.pub").write_text(gpg(home, "--armor", "--export"))
        listed = gpg(home, "--with-colons", "--list-keys").splitlines()
        primary = [
            listed[number + 1] for number, line in enumerate(listed) if line.startswith("pub:")
        ]
        return [line.split(":")[9] for line in primary]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(_Quiet, directory=str(served))
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield Keys(served, f"http://127.0.0.1:{server.server_port}/key.pub")


def test_the_key_that_is_pinned_is_taken(keys: Keys, tmp_path: Path) -> None:
    (fingerprint,) = keys.make("one@example.org")
    place = tmp_path / "keyrings" / "key.asc"
    assert run("key", keys.url, fingerprint, str(place)) == (0, "")
    assert place.read_text() == (keys.directory / "key.pub").read_text()
    assert oct(place.stat().st_mode)[-3:] == "644"


def test_another_key_is_not(keys: Keys, tmp_path: Path) -> None:
    (fingerprint,) = keys.make("one@example.org")
    place = tmp_path / "key.asc"
    status, said = run("key", keys.url, "A" * 40, str(place))
    assert status == 1
    assert f"has the key {fingerprint}, not {'A' * 40}" in said
    assert list(tmp_path.glob("key.asc*")) == []


def test_a_second_key_in_the_same_file_is_not(keys: Keys, tmp_path: Path) -> None:
    """It would be trusted as the first one is."""
    first, _second = keys.make("one@example.org", "two@example.org")
    status, said = run("key", keys.url, first, str(tmp_path / "key.asc"))
    assert status == 1
    assert "has the key" in said
    assert not (tmp_path / "key.asc").exists()


def test_a_file_that_is_no_key(keys: Keys, tmp_path: Path) -> None:
    (keys.directory / "key.pub").write_text("<html>")
    status, said = run("key", keys.url, "A" * 40, str(tmp_path / "key.asc"))
    assert status == 1
    assert "has the key of no kind that gpg knows" in said


def test_no_file_at_all(keys: Keys, tmp_path: Path) -> None:
    status, said = run("key", f"{keys.url}x", "A" * 40, str(tmp_path / "key.asc"))
    assert status == 1
    assert "failed:" in said


def test_files_have_their_texts(tmp_path: Path) -> None:
    texts = {tmp_path / "a" / "one": 'x = "$y"\n\n`z`\\\n', tmp_path / "two": "ä\n"}
    coded = "".join(base64.b64encode(text.encode()).decode() + "\n" for text in texts.values())
    assert run("files", *map(str, texts), stdin=coded) == (0, "")
    assert {path: path.read_text() for path in texts} == texts
    assert [path.name for path in tmp_path.rglob("*.new")] == []


def tool(tmp_path: Path, name: str, text: str) -> None:
    program = tmp_path / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_a_module_that_is_refused(tmp_path: Path) -> None:
    said_by_modprobe = "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"
    tool(tmp_path, "modprobe", f'echo "{said_by_modprobe}" >&2; exit 1')
    tool(tmp_path, "dmesg", "echo 'nvidia: module verification failed'; echo 'eth0: up'")
    status, said = run("load", tools=tmp_path)
    assert status == 1
    assert f"the module nvidia cannot be loaded: {said_by_modprobe}" in said
    assert "module verification failed" in said
    assert "eth0" not in said


def test_a_build_that_nvidias_makefile_refuses(tmp_path: Path) -> None:
    """Its own words are shown, and not only that make failed."""
    tool(tmp_path, "dkms", "exit 10")
    log = tmp_path / "nvidia" / "580.142" / "build" / "make.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "The C compiler 'cc' does not appear to be able to create executables.\n"
        "*** Failed CC sanity check. Bailing out! ***\n"
        "make[2]: *** [/build/Kbuild:290: cc_sanity_check] Error 1\n"
    )
    status, said = run("build", tools=tmp_path, dkms=tmp_path)
    assert status == 1
    assert f"the module could not be built; in {log}:" in said
    assert "    *** Failed CC sanity check. Bailing out! ***" in said


def test_units(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    tool(
        tmp_path, "systemctl", f'echo "$*" >>{calls}; [ "$1" != restart ] || [ "$2" != b.service ]'
    )
    tool(tmp_path, "journalctl", "echo 'no device'")
    assert run("units", "enable", "a", tools=tmp_path)[0] == 0
    assert calls.read_text() == "enable a.service\n"
    status, said = run("units", "start", "a", "b", tools=tmp_path)
    assert status == 1
    assert "systemctl restart b.service failed" in said
    assert "no device" in said


def test_dnf_takes_a_stream_and_locks_what_is_installed(tmp_path: Path) -> None:
    """The commands alone; dnf itself runs in tests/e2e/test_drivers_dnf.py."""
    calls = tmp_path / "calls"
    tool(tmp_path, "dnf", f'echo "$*" >>{calls}')
    listed = (
        "nvidia-driver-cuda 580.173.02 3:580.173.02-1.el9",
        "libnvidia-ml 580.173.02 3:580.173.02-1.el9",
        "kernel-devel 5.14 0:5.14-1.el9",
        "bash 580.173.02 0:580.173.02-1",
    )
    tool(tmp_path, "rpm", f"printf '%s\\n' {' '.join(map(repr, listed))}")
    status, said = run(
        "install", "dnf", "module nvidia-driver:580-open", "580.178.04", "kernel-devel-5.14",
        "kmod-nvidia-open-dkms-580.178.04", "nvidia-driver-cuda-580.178.04", tools=tmp_path,
    )  # fmt: skip
    assert (status, said) == (0, "")
    assert run("hold", "dnf", "nvidia-driver-cuda", tools=tmp_path)[0] == 0
    commands = calls.read_text().splitlines()
    assert commands[:6] == [
        "-q list dkms",
        "-q makecache --refresh --repo atelier-*",
        "-q -y module reset nvidia-driver",
        "-q -y module enable nvidia-driver:580-open",
        "versionlock list",
        commands[5],
    ]
    # libraries of the driver are locked with it, and nothing else of the same version
    names, exact = {"nvidia-driver-cuda", "libnvidia-ml"}, "3:580.173.02-1.el9"
    assert {*commands[5].split()[3:]} == {*commands[8].split()[3:]} == names
    assert commands[6] == (
        "-q -y install --allowerasing kernel-devel-5.14 kmod-nvidia-open-dkms-580.178.04 "
        "nvidia-driver-cuda-580.178.04"
    )
    assert {*commands[9].split()[3:]} == {f"{name}-{exact}" for name in names}


def test_an_exchange_that_dnf_refuses_is_a_failure(tmp_path: Path) -> None:
    """The shell of dnf ends with 0 then, too; what was to leave is still there."""
    tool(tmp_path, "dnf", 'case "$*" in *shell) echo "Error: GPG check FAILED" ;; esac')
    tool(tmp_path, "rpm", "exit 0")
    step = ("install", "dnf", "-", "-", "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms-")
    status, said = run(*step, tools=tmp_path)
    assert status == 1
    assert "GPG check FAILED" in said
    tool(tmp_path, "rpm", '[ "$1" != -q ]')
    assert run(*step, tools=tmp_path)[0] == 0


def test_the_specification_is_written_where_the_toolkits_service_does_nothing(
    tmp_path: Path,
) -> None:
    """As on hosts whose module has another name, or whose toolkit is older than the service."""
    log = tmp_path / "log"
    for name in ("systemctl", "nvidia-ctk"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n')
        tool.chmod(0o755)
    assert run("cdi", tools=tmp_path) == (0, "")
    assert log.read_text().splitlines() == [
        "systemctl reset-failed nvidia-cdi-refresh.service",
        "systemctl restart nvidia-cdi-refresh.service",
        "nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",
    ]
    (tmp_path / "nvidia-ctk").write_text("#!/bin/sh\necho Driver Not Loaded\nexit 1\n")
    status, said = run("cdi", tools=tmp_path)
    assert status == 1
    assert "Driver Not Loaded" in said
