"""Copies of large files, by the real script on this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import StringCommand
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.util import run_local_process

from deploy.local_file import LocalFile
from deploy.operations import copy, stream
from deploy.operations.copy import CopyCommand, Progress

CONTENT = bytes(range(256)) * 4096 * 3 + b"end"


class ThisMachine:
    """A host on which pyinfra's commands really run."""

    print_prefix = ""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.state = SimpleNamespace(config=SimpleNamespace(TEMP_DIR="/tmp"))
        self.data = dict[str, Any]()
        self.connector_data: dict[str, Any] = {}
        self.connector = LocalConnector(self.state, self)  # type: ignore[arg-type]

    def run_shell_command(self, command: StringCommand, **_: Any) -> tuple[bool, Any]:
        """Run it with sh."""
        status, output = run_local_process(command.get_raw_value())
        return status == 0, output

    def log(self, message: str) -> None:
        """Remember it."""
        self.said.append(message)


@pytest.fixture
def file(tmp_path: Path) -> LocalFile:
    path = tmp_path / "it's a model.gguf"
    path.write_bytes(CONTENT)
    return LocalFile(path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Offsets that files were read from."""
    offsets: list[int] = []
    real = stream.run_reading

    def record(*arguments: Any) -> Any:
        offsets.append(arguments[3][1])
        return real(*arguments)

    monkeypatch.setattr(copy, "run_reading", record)
    return offsets


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "the host" / "models" / "x.gguf"


def execute(file: LocalFile, target: Path) -> tuple[bool, ThisMachine]:
    host, state = ThisMachine(), SimpleNamespace(print_input=False)
    command = CopyCommand(file, PurePosixPath(target), target.name)
    return command.execute(state, host, {}), host  # type: ignore[arg-type]


@pytest.fixture
def hardened() -> Iterator[None]:
    """Everybody's umask is 077, as hardening guides want it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_others_may_read_it_whatever_the_umask_is(
    file: LocalFile, target: Path, hardened: None
) -> None:
    """A container's user is not the one who copies."""
    assert execute(file, target)[0]
    assert oct(target.parent.stat().st_mode & 0o777) == "0o755"
    assert oct(target.stat().st_mode & 0o777) == "0o644"


def test_a_file_is_copied_whole(file: LocalFile, target: Path, sent: list[int]) -> None:
    assert execute(file, target)[0]
    assert target.read_bytes() == CONTENT
    assert oct(target.stat().st_mode & 0o777) == "0o644"
    assert [path.name for path in target.parent.iterdir()] == ["x.gguf"]
    assert execute(file, target)[0]
    assert sent == [0]


@pytest.mark.parametrize("size", [1, 1024**2 + 7, len(CONTENT)])
def test_what_arrived_is_not_copied_again(
    file: LocalFile, target: Path, sent: list[int], size: int
) -> None:
    target.parent.mkdir(parents=True)
    part = target.with_name("x.gguf.part")
    part.write_bytes(CONTENT[:size])
    assert execute(file, target)[0]
    assert (target.read_bytes() == CONTENT, part.exists(), sent) == (True, False, [size])


def test_a_corrupt_part_is_thrown_away(file: LocalFile, target: Path, sent: list[int]) -> None:
    target.parent.mkdir(parents=True)
    target.with_name("x.gguf.part").write_bytes(b"x" * 1000)
    succeeded, host = execute(file, target)
    assert succeeded
    assert target.read_bytes() == CONTENT
    assert sent == [1000, 0]
    assert "x.gguf: what an earlier copy left was corrupt, copying it again" in host.said


def test_a_part_that_is_too_large_is_no_part(
    file: LocalFile, target: Path, sent: list[int]
) -> None:
    target.parent.mkdir(parents=True)
    target.with_name("x.gguf.part").write_bytes(CONTENT + b"more")
    assert execute(file, target)[0]
    assert (target.read_bytes() == CONTENT, sent) == (True, [0])


def test_a_file_that_changed_here_is_refused(
    file: LocalFile, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.path.write_bytes(CONTENT.swapcase())
    assert not execute(file, target)[0]
    assert list(target.parent.iterdir()) == []
    assert "wrong digest and was thrown away" in caplog.text


def test_a_file_that_is_gone_here_is_no_broken_connection(
    file: LocalFile, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.path.unlink()
    assert not execute(file, target)[0]
    assert "x.gguf: " in caplog.text
    assert f"{file.path} cannot be read on this machine: No such file" in caplog.text
    assert "connection broke" not in caplog.text


def test_a_broken_connection_keeps_what_arrived(
    file: LocalFile,
    target: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: Any) -> Any:
        arguments[4](1_400_000)
        raise EOFError

    monkeypatch.setattr(copy, "run_reading", broken)
    assert not execute(file, target)[0]
    assert "the connection broke after 1 of 3 MB; what arrived stays there" in caplog.text


def test_a_directory_that_cannot_be_made_is_named(
    file: LocalFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("")
    assert not execute(file, tmp_path / "taken" / "x")[0]
    assert "taken" in caplog.text


def test_progress_is_told_in_megabytes() -> None:
    line: Callable[[float], str] = Progress("x.tar", 300_000_000, 100_000_000, 50_000_000).line
    assert line(10) == "x.tar: 150 of 300 MB copied, 5.0 MB/s"
    assert Progress("x", 10, 4, 6).line(10) == "x: copied, comparing its digest"


@pytest.mark.parametrize(
    ("program", "said", "fix"),
    [
        ("dd", "dd: error writing 'x.part': No space left on device", "df -h"),
        ("dd", "dd: error writing 'x.part': Disk quota exceeded", "quota -s"),
        ("mkdir", "mkdir: cannot create directory 'x': Disk quota exceeded", "quota -s"),
        ("mkdir", "mkdir: cannot create directory 'x': Read-only file system", "read-only"),
    ],
)
def test_what_to_do_about_a_file_that_cannot_be_written(
    program: str,
    said: str,
    fix: str,
    file: LocalFile,
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(copy, "show_failure", lambda _, message: told.append(message))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / program).write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    (tmp_path / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert not execute(file, target)[0]
    [message] = told
    assert said in message
    assert fix in message.partition("fix: ")[2]
