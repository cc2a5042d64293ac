"""program.sh: what is in an archive, or nothing of it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.scripts import read_script

HELLO = b"#!/bin/sh\necho hello from $(dirname $(readlink -f $0))\n"


def archive(path: Path, *names: str, mode: int = 0o755) -> Path:
    """An archive with the same program under several names."""
    with tarfile.open(path, "w:gz") as target:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid = len(HELLO), mode, 4711
            target.addfile(member, io.BytesIO(HELLO))
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", read_script("program.sh"), "atelier", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_program_is_unpacked(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar.gz", "llama-b1/llama-server", "llama-b1/llama-cli")
    place = tmp_path / "programs/llama-server/abc"
    done = run("unpack", source, place, "llama-server")
    assert done.returncode == 0, done.stdout + done.stderr
    said = subprocess.run([place / "llama-server"], capture_output=True, text=True).stdout
    assert said.strip() == f"hello from {place}/files/llama-b1"
    assert (place / "llama-server").stat().st_mode & 0o555 == 0o555
    assert sorted(path.name for path in place.parent.iterdir()) == ["abc"]
    assert not source.exists()


def test_what_an_interrupted_run_left_is_no_hindrance(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar.gz", "llama-server")
    place = tmp_path / "abc"
    (tmp_path / "abc.new/files/old").mkdir(parents=True)
    assert run("unpack", source, place, "llama-server").returncode == 0
    assert not (place / "files/old").exists()


@pytest.mark.parametrize(
    ("names", "mode"),
    [
        (["llama-cli"], 0o755),
        (["a/llama-server", "b/llama-server"], 0o755),
        (["llama-server"], 0o644),
    ],
)
def test_an_archive_without_the_program(tmp_path: Path, names: list[str], mode: int) -> None:
    source = archive(tmp_path / "a.tar.gz", *names, mode=mode)
    done = run("unpack", source, tmp_path / "abc", "llama-server")
    assert done.returncode == 1
    assert "the archive must have one program called llama-server" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == []


def test_something_else(tmp_path: Path) -> None:
    source = tmp_path / "a.tar.gz"
    source.write_text("<html>")
    done = run("unpack", source, tmp_path / "abc", "llama-server")
    assert done.returncode == 1
    assert "the archive cannot be unpacked" in done.stdout
    assert not (tmp_path / "abc").exists()


def test_versions_are_removed(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name / "files").mkdir(parents=True)
    assert run("remove", tmp_path / "one", tmp_path / "two").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["three"]
