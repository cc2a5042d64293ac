"""What runs HAProxy, with a stand-in that writes down its signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from deploy.render import TEMPLATES
from deploy.services.haproxy_watch import LOOKS, watch

PROGRAM = (TEMPLATES / "haproxy" / "watch.sh").read_text()
HAPROXY = """#!/bin/sh
if [ "$1" = -c ]; then
  echo looks >>"$LOG.looks"
  if grep -q slow "$3/$5"; then sleep 2; fi
  ! grep -q wrong "$3/$5"
  exit
fi
arguments=$*
shift 2
read_again() {
  # as one that cannot: its worker stays, and the shell goes on waiting for it
  if grep -q stuck "$4/$6"; then wait $!; return; fi
  echo read again >>"$LOG"
}
end() {
  echo ends >>"$LOG"
  # as one that has answers to finish
  if grep -q slow "$4/$6"; then return; fi
  kill $!
  exit 0
}
trap 'read_again "$@"' USR2
trap 'end "$@"' USR1
# from now on no signal is lost: who runs it has its trap for SIGHUP, the last one
until grep -q '^SigCgt:.*[13579bdf]$' "/proc/$PPID/status"; do sleep 0.02; done
echo "$arguments" >>"$LOG"
while :; do sleep 60 >/dev/null & wait $!; done
"""
SHELL = ("env", "--default-signal=HUP", "sh", "-c")
"""No shell could trap a SIGHUP that is ignored, as it is in what nohup runs."""


class Link:
    def __init__(self, directory: Path) -> None:
        self.files, self.log = directory / "current", directory / "log"
        self.root = directory
        binary = directory / "bin" / "haproxy"
        binary.parent.mkdir()
        binary.write_text(HAPROXY)
        binary.chmod(0o755)
        self.write("first")
        # it has a place of its own for what it has read, as containers have
        program = PROGRAM.replace("/tmp/", f"{directory}/").replace("LOOKS=150", "LOOKS=2")
        self.sockets = directory / "tcp"
        self.sockets.write_text("")
        program = program.replace("/proc/net/tcp", str(self.sockets))
        self.listener = directory / "sockets"
        path = f"{binary.parent}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [*SHELL, program, "watch.sh", str(self.files), "30", str(self.listener)],
            env={"PATH": path, "LOG": str(self.log)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(self, text: str) -> None:
        """As a deployment writes files: a directory takes the place of the one before."""
        new = self.root / ".new"
        new.mkdir()
        (new / "haproxy.cfg").write_text(text)
        if self.files.exists():
            (self.files / "haproxy.cfg").unlink()
            self.files.rmdir()
        new.rename(self.files)

    def wait_for(self, *lines: str) -> None:
        wanted = [f"-x {self.listener} -W -db -C {self.files} -f haproxy.cfg", *lines]
        deadline = time.monotonic() + 60
        while self._lines() != wanted:
            assert time.monotonic() < deadline, (self._lines(), wanted)
            time.sleep(0.05)

    def has_taken(self) -> bool:
        """As a deployment asks."""
        *shell, wait = watch(PurePosixPath(self.root)).wait
        program = wait.replace("/tmp/taken", f"{self.root}/taken").replace(f"le {LOOKS}", "le 1")
        return subprocess.run([*shell, program]).returncode == 0

    def is_taken(self) -> None:
        deadline = time.monotonic() + 60
        while not self.has_taken():
            assert time.monotonic() < deadline

    def _lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    (tmp_path / "sockets").touch()
    made = Link(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.send_signal(signal.SIGTERM)
    made.process.communicate(timeout=60)


def test_it_reads_again_what_has_changed(link: Link) -> None:
    link.wait_for()
    link.write("second")
    link.wait_for("read again")
    link.is_taken()
    link.write("third")
    link.wait_for("read again", "read again")
    link.is_taken()


def test_what_is_wrong_is_not_read(link: Link) -> None:
    link.wait_for()
    link.write("wrong")
    assert link.process.stdout
    assert "not taken" in link.process.stdout.readline()
    assert not link.has_taken()
    link.write("right")
    link.wait_for("read again")


def test_what_haproxy_cannot_read_does_not_keep_it_from_what_comes_next(link: Link) -> None:
    link.wait_for()
    link.write("stuck")
    assert link.process.stdout
    assert "has not read" in link.process.stdout.readline()
    assert not link.has_taken()
    link.write("right")
    link.wait_for("read again")
    link.is_taken()


def test_it_ends_with_haproxy(link: Link) -> None:
    link.wait_for()
    link.process.send_signal(signal.SIGUSR1)
    link.wait_for("ends")
    assert link.process.wait(60) == 0


def test_it_starts_again_with_its_listener(link: Link) -> None:
    link.wait_for()
    link.listener.unlink()
    link.listener.touch()
    assert link.process.wait(60) == 1


def test_it_starts_again_where_it_was_given_nothing(link: Link) -> None:
    link.wait_for()
    line = "   1: 00000000:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
    link.sockets.write_text(line)
    assert link.process.wait(60) == 1


def test_without_a_listener_it_does_not_start(tmp_path: Path) -> None:
    made = Link(tmp_path)
    assert made.process.wait(60) == 1
    assert not made.log.exists()


def test_one_that_gives_way_reads_nothing_any_more(link: Link) -> None:
    """HAProxy would listen again; nor is there a limit: it ends with its last answer."""
    link.wait_for()
    link.process.send_signal(signal.SIGHUP)
    link.write("second")
    link.wait_for("ends")
    assert link.process.wait(60) == 0


def test_one_that_gives_way_while_it_looks_at_its_files_does_not_read_them(link: Link) -> None:
    link.wait_for()
    link.write("slow")
    deadline = time.monotonic() + 60
    while not link.log.with_suffix(".looks").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    link.process.send_signal(signal.SIGHUP)
    link.wait_for("ends")
    time.sleep(3)
    link.wait_for("ends")
    link.process.send_signal(signal.SIGTERM)
    os.kill(int(child_of(link.process.pid)), signal.SIGKILL)


def child_of(pid: int) -> str:
    """The first one that a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
