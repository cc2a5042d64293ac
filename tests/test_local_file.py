"""Digests of large files: worked out once, and anew whenever the file is another one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from deploy.local_file import read_local_file, user_cache


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was made a while ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.gguf"
    write(path, b"weights")
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read for their digest."""
    names: list[str] = []
    real = hashlib.file_digest

    def record(file: object, digest: str) -> object:
        names.append(Path(file.name).name)  # type: ignore[attr-defined]
        return real(file, digest)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", record)
    return names


def write(path: Path, content: bytes, time: int = 1_700_000_000) -> None:
    path.write_bytes(content)
    os.utime(path, (time, time))


def test_a_file_is_read_once(file: Path, read: list[str]) -> None:
    first, second = read_local_file(file), read_local_file(file)
    assert first == second
    assert (first.size_bytes, first.sha256) == (7, hashlib.sha256(b"weights").hexdigest())
    assert read == ["model.gguf"]


def test_a_file_of_a_clock_that_was_wrong_is_read_once(file: Path, read: list[str]) -> None:
    """It would be read by every command until that time comes."""
    write(file, b"weights", time=4_000_000_000)
    assert read_local_file(file) == read_local_file(file)
    assert read == ["model.gguf"]


def test_a_file_that_changed_is_read_again(file: Path) -> None:
    read_local_file(file)
    write(file, b"Weights", time=1_700_000_001)
    assert read_local_file(file).sha256 == hashlib.sha256(b"Weights").hexdigest()


def test_another_file_in_its_place_is_read(file: Path, tmp_path: Path) -> None:
    """With the same size and time, as an archive may restore it."""
    read_local_file(file)
    write(tmp_path / "other", b"WEIGHTS")
    (tmp_path / "other").replace(file)
    assert read_local_file(file).sha256 == hashlib.sha256(b"WEIGHTS").hexdigest()


def test_a_file_that_has_just_changed_is_not_remembered(file: Path, read: list[str]) -> None:
    file.write_bytes(b"new")
    read_local_file(file)
    read_local_file(file)
    assert read == ["model.gguf", "model.gguf"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"sha256": "x"}', b"\xff\xfe"])
def test_a_damaged_cache_is_of_no_account(file: Path, damage: bytes) -> None:
    right = read_local_file(file)
    (note,) = (user_cache() / "digests").iterdir()
    note.write_bytes(damage)
    assert read_local_file(file) == right
    assert read_local_file(file) == right


def test_a_digest_that_is_none_is_not_believed(file: Path) -> None:
    right = read_local_file(file)
    (note,) = (user_cache() / "digests").iterdir()
    note.write_text(note.read_text().replace(right.sha256, right.sha256[:-1]))
    assert read_local_file(file) == right


def test_a_cache_that_cannot_be_written_is_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert read_local_file(file).sha256 == hashlib.sha256(b"weights").hexdigest()
