"""lock.sh as the operation and ``atelier lock`` run it, with flock and without."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.scripts import read_script

TOOLS = "cat date find flock ln mkdir mv ps readlink rm rmdir sed sh sleep tr"


@dataclass
class Directory:
    """A deployment's directory, and the programs of its host."""

    path: Path
    programs: Path

    def command(self, *arguments: str) -> list[str]:
        return ["sh", "-c", read_script("lock.sh"), "atelier", *arguments]

    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.programs)}

    def run(self, action: str, *more: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(action, str(self.path), *more),
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.run("status").stdout))

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "lock.json").read_text()))

    @contextmanager
    def held(self, who: str = "alice") -> Iterator[subprocess.Popen[str]]:
        """A run that has the lock until its standard input is closed."""
        with subprocess.Popen(
            self.command("hold", str(self.path)),
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"who": who}) + "\n")
            process.stdin.flush()
            assert process.stdout is not None
            process.answer = json.loads(process.stdout.readline())  # type: ignore[attr-defined]
            yield process
            if not process.stdin.closed:
                process.stdin.close()
            process.wait(timeout=30)


def send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.close()
    process.wait(timeout=30)


@pytest.fixture(params=["flock", "no flock"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Directory:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        if found and (name != "flock" or request.param == "flock"):
            (programs / name).symlink_to(found)
    path = tmp_path / "it's a deployment"
    path.mkdir()
    (path / "config").mkdir()
    return Directory(path, programs)


def test_one_run_has_it_and_the_second_is_told_who(directory: Directory) -> None:
    with directory.held('al"ice\\') as first:
        assert first.answer["lock"] == "taken"  # type: ignore[attr-defined]
        assert first.answer["record"] is None  # type: ignore[attr-defined]
        second = json.loads(directory.run("hold", stdin='{"who": "bob"}\n').stdout)
        assert second["lock"] == "held"
        assert second["record"]["run"] == {"who": 'al"ice\\'}
        assert second["record"]["pid"] == first.pid
        assert directory.status() | {"now": 0} == second | {"now": 0}
        send(first, "done")
    assert directory.record()["state"] == "done"
    with directory.held("bob") as next_run:
        assert next_run.answer["lock"] == "taken"  # type: ignore[attr-defined]
        assert next_run.answer["record"]["state"] == "done"  # type: ignore[attr-defined]


def test_a_run_whose_connection_breaks_is_known_to_the_next(directory: Directory) -> None:
    with directory.held():
        pass
    assert directory.record()["state"] == "cut"
    found = directory.status()
    assert (found["lock"], found["record"]["run"]) == ("free", {"who": "alice"})
    assert found["record"]["until"] >= found["record"]["since"]
    with directory.held("bob") as second:
        assert second.answer["record"]["state"] == "cut"  # type: ignore[attr-defined]


def test_a_holder_that_was_killed_holds_nothing(directory: Directory) -> None:
    """As after the host went down."""
    with directory.held() as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        found = directory.status()
        assert (found["lock"], found["record"]["state"]) == ("free", "held")
    with directory.held("bob") as second:
        assert second.answer["lock"] == "taken"  # type: ignore[attr-defined]


def test_release_ends_the_holder_that_was_seen_and_no_other(directory: Directory) -> None:
    with directory.held() as first:
        other = directory.run("release", str(os.getpid()))
        assert other.returncode == 1
        assert "does not hold the lock" in other.stderr
        assert directory.status()["lock"] == "held"
        released = json.loads(directory.run("release", str(first.pid)).stdout)
        assert released["lock"] == "free"
        assert first.wait(timeout=30) == -signal.SIGTERM
    record = directory.record()
    assert (record["state"], record["run"]) == ("released", {"who": "alice"})
    assert record["until"] >= record["since"]
    with directory.held("bob"):
        # somebody else's by now
        again = directory.run("release", str(first.pid))
        assert (again.returncode, directory.status()["lock"]) == (1, "held")


def test_a_look_leaves_nothing_behind(directory: Directory) -> None:
    assert directory.status()["record"] is None
    assert [path.name for path in directory.path.iterdir()] == ["config"]


def test_a_directory_that_only_the_lock_needed_goes_with_it(directory: Directory) -> None:
    """A run that removes a deployment without a directory leaves none."""
    (directory.path / "config").rmdir()
    directory.path.rmdir()
    with directory.held() as run:
        send(run, "done")
    assert not directory.path.exists()
    with directory.held() as run:
        (directory.path / "config").mkdir()
        send(run, "done")
    assert directory.record()["state"] == "done"


def test_a_deployment_that_is_removed_stays_removed(directory: Directory) -> None:
    with directory.held() as run:
        shutil.rmtree(directory.path)
        send(run, "done")
        assert not directory.path.exists()
    with directory.held() as run:
        assert run.answer["lock"] == "taken"  # type: ignore[attr-defined]


def test_of_many_at_once_one_gets_it(directory: Directory) -> None:
    """And nobody who looks at it meanwhile keeps it from anybody."""
    looks = [
        subprocess.Popen(
            directory.command("status", str(directory.path)),
            env=directory.environment(),
            stdout=subprocess.DEVNULL,
        )
        for _ in range(5)
    ]
    runs = [
        subprocess.Popen(
            directory.command("hold", str(directory.path)),
            env=directory.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write('{"who": "x"}\n')
        run.stdin.flush()
    answers = []
    for run in runs:
        assert run.stdout is not None
        answers.append(json.loads(run.stdout.readline())["lock"])
    for run in runs:
        run.communicate(timeout=30)
    for look in looks:
        look.wait(timeout=30)
    assert sorted(answers) == ["held"] * 4 + ["taken"]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_a_shell_that_logs_out_after_a_while_keeps_the_lock(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hardening guides export TMOUT from profiles; bash is the shell that heeds it."""
    (directory.programs / "sh").unlink()
    (directory.programs / "sh").symlink_to(str(shutil.which("bash")))
    monkeypatch.setattr(
        Directory, "environment", lambda self: {"PATH": str(self.programs), "TMOUT": "1"}
    )
    with directory.held() as run:
        time.sleep(1.5)
        assert (run.poll(), directory.status()["lock"]) == (None, "held")
        send(run, "done")
    assert directory.record()["state"] == "done"


def test_half_a_record_is_none(directory: Directory) -> None:
    """As a file system has it that lost its power while the record was written."""
    with directory.held() as run:
        send(run, "done")
    whole = (directory.path / "lock.json").read_bytes()
    for left in (b"", whole[: len(whole) // 2], bytes(len(whole))):
        (directory.path / "lock.json").write_bytes(left)
        assert (directory.status()["lock"], directory.status()["record"]) == ("free", None)
        with directory.held("bob") as run:
            assert run.answer["record"] is None  # type: ignore[attr-defined]
            send(run, "done")
        assert directory.record()["run"] == {"who": "bob"}


def test_a_file_system_without_locks_is_no_other_run(directory: Directory) -> None:
    """NFS without its lock service, Lustre without flock."""
    flock = directory.programs / "flock"
    if not flock.exists():
        pytest.skip("only flock locks files")
    (directory.path / "lock").touch()
    flock.unlink()
    flock.write_text('#!/bin/sh\necho "flock: 9: No locks available" >&2\nexit 71\n')
    flock.chmod(0o755)
    for found in (directory.run("hold", stdin='{"who": "bob"}\n'), directory.run("status")):
        assert (found.returncode, found.stdout) == (71, "")
        assert "No locks available" in found.stderr


@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_does_not_keep_anybody_from_freeing_some(
    directory: Directory, before: bool
) -> None:
    """Nothing new can be written, but the room of the record before can be used again."""
    if before:
        with directory.held() as run:
            send(run, "done")
    else:
        (directory.path / "lock").touch()
    mv = directory.programs / "mv"
    mv.unlink()
    mv.write_text(
        f'#!/bin/sh\nif [ ! -e "$2" ] && {"true" if before else "false"}; then '
        f'exec {shutil.which("mv")} "$@"; fi\n'
        'echo "mv: error writing: No space left on device" >&2\nexit 1\n'
    )
    mv.chmod(0o755)
    with directory.held("bob") as run:
        assert run.answer["lock"] == "taken"  # type: ignore[attr-defined]
        found = directory.status()["record"]
        assert (found["run"] if before else found) == ({"who": "bob"} if before else None)
        send(run, "done")
    assert run.returncode == 0
    assert not list(directory.path.glob("lock.json.*"))


def test_a_directory_that_is_not_this_users_is_refused(directory: Directory) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (directory.path / "lock").touch()
    directory.path.chmod(0o555)
    refused = directory.run("hold", stdin='{"who": "bob"}\n')
    directory.path.chmod(0o755)
    assert refused.returncode != 0
    assert "ermission denied" in refused.stderr
