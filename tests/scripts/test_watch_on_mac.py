"""HAProxy as a daemon of launchd: one takes the place of another, in the shells that Macs have had.

A stand-in for HAProxy writes down what it was told; tests/e2e/test_ssh_mac.py runs the real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.render import TEMPLATES

pytestmark = pytest.mark.slow
START = (TEMPLATES / "haproxy" / "watch_on_mac.sh").read_text()
# it ends when it is told to, and tells the one before
HAPROXY = """#!/bin/sh
echo "$*" >>STATE/told
config=DIRECTORY/haproxy.cfg
case $1 in -c) exec grep -q good $config ;; esac
grep -q starts $config || exit 1
while [ $# -gt 0 ]; do
  if [ "$1" = -sf ]; then kill -USR1 "$2"; fi
  shift
done
trap 'echo "$$ ends" >>STATE/told; exit 0' USR1 TERM
echo "$$ serves" >>STATE/told
while :; do sleep 0.1; done
"""
SHELLS = (["dash"], ["bash", "--posix"])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Daemon:
    """The daemon, and its files."""

    process: subprocess.Popen[str]
    home: Path

    @property
    def told(self) -> list[str]:
        path = self.home / "state" / "told"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def serving(self) -> list[int]:
        """Those that have begun and not ended."""
        rows = [line.split() for line in self.told]
        ended = {row[0] for row in rows if row[1:] == ["ends"]}
        return [int(row[0]) for row in rows if row[1:] == ["serves"] and row[0] not in ended]

    def write(self, text: str, minute: int) -> None:
        """Another directory takes the place of the one there is, and is so many minutes younger."""
        new = self.home / ".new"
        new.mkdir()
        (new / "haproxy.cfg").write_text(text)
        moment = time.time() + 60 * minute
        os.utime(new, (moment, moment))
        current = self.home / "current"
        if current.exists():
            current.rename(self.home / f"old-{minute}")
        new.rename(current)

    def age(self, name: str) -> int:
        return int((self.home / name).stat().st_mtime)

    @property
    def is_taken(self) -> bool:
        return self.age("current") == self.age("state/taken")


@pytest.fixture(params=SHELLS, ids=lambda shell: str(shell[0]))
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    state, program = tmp_path / "state", tmp_path / "haproxy"
    state.mkdir()
    text = HAPROXY.replace("STATE", str(state)).replace("DIRECTORY", str(tmp_path / "current"))
    program.write_text(text)
    program.chmod(0o755)
    found = Daemon(None, tmp_path)  # type: ignore[arg-type]
    found.write("good, starts", 0)
    given = (str(program), str(tmp_path / "current"), str(state), "1")
    found.process = subprocess.Popen(
        [*request.param, "-c", START, "watch_on_mac.sh", *given],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(found.serving) == 1)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            os.killpg(found.process.pid, signal.SIGKILL)
            found.process.wait()


def test_another_one_takes_its_place_again_and_again(daemon: Daemon) -> None:
    for minute in (1, 2):
        [before] = daemon.serving
        daemon.write("good, starts", minute)
        wait_until(lambda: daemon.is_taken)
        wait_until(lambda: len(daemon.serving) == 1)
        assert daemon.serving != [before]
        state = daemon.home / "state"
        assert f"-x {state}/runtime -sf {before}" in daemon.told[-3]


@pytest.mark.parametrize("text", ["bad", "good"])
def test_what_is_not_taken_changes_nothing(daemon: Daemon, text: str) -> None:
    """Files that the check refuses, and such with which another one ends at once."""
    before = daemon.serving
    daemon.write(text, 1)
    assert daemon.process.stdout is not None
    said = daemon.process.stdout.readline()
    wanted = "what is there is not taken" if text == "bad" else "HAProxy has not read what is there"
    assert wanted in said
    assert (daemon.serving, daemon.is_taken) == (before, False)
    daemon.write("good, starts", 2)
    wait_until(lambda: daemon.is_taken)
    # it was the one of before that gave way to those that were taken
    wait_until(lambda: f"{before[0]} ends" in daemon.told)


def test_it_ends_when_it_is_told_to(daemon: Daemon) -> None:
    daemon.process.terminate()
    assert daemon.process.wait(60) == 0
    assert daemon.serving == []


def test_it_ends_with_haproxy(daemon: Daemon) -> None:
    """launchd starts both again."""
    os.kill(daemon.serving[0], signal.SIGKILL)
    assert daemon.process.wait(60) != 0
