"""Images saved on this machine, by a container engine that only pretends (the ``bin`` beside)."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from deploy.catalog import Catalog
from deploy.errors import ImageBuildError
from deploy.images import engine_problem, make_build_plan, resolve_images, save_image, saved
from deploy.images.need import ImageNeed, image_need
from tests.conftest import declare

BIN = Path(__file__).parent / "bin"


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.setenv("FAKE_IMAGES", str(folder))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def have(engine: Path, tag: str, content: bytes) -> None:
    (engine / tag.replace("/", "_").replace(":", "_")).write_bytes(content)


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "atelier" / "images").iterdir())


def saves(engine: Path) -> int:
    return (engine / "log").read_text().count("docker image save")


def test_an_image_is_saved_once(engine: Path) -> None:
    have(engine, "atelier/x:1", b"layers")
    said: list[str] = []
    first = save_image("atelier/x:1", said.append)
    assert gzip.decompress(first.path.read_bytes()) == b"layers"
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert first.size_bytes == first.path.stat().st_size
    assert first.path.name.startswith("atelier-x-1-")
    assert save_image("atelier/x:1", said.append) == first
    assert (saves(engine), len(said)) == (1, 1)


def test_an_image_that_was_built_again_is_saved_again(engine: Path, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        have(engine, "atelier/x:1", content)
        archive = save_image("atelier/x:1", lambda _: None)
        assert gzip.decompress(archive.path.read_bytes()) == content
    assert len(cached(tmp_path)) == 2


def test_the_oldest_archives_go(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "CACHE_LIMIT_BYTES", 6000)
    for name in ("a", "b", "c"):
        have(engine, f"{name}:1", os.urandom(2500))
        archive = save_image(f"{name}:1", lambda _: None)
        os.utime(archive.path, (1000 + ord(name), 1000 + ord(name)))
    assert [name[0] for name in cached(tmp_path)] == ["b", "c"]
    # the one that is wanted stays, however large it is
    have(engine, "d:1", os.urandom(9000))
    save_image("d:1", lambda _: None)
    assert [name[0] for name in cached(tmp_path)] == ["d"]


def test_an_image_that_is_not_there_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ImageBuildError, match="this machine does not have it"):
        save_image("no:1", lambda _: None)


def test_nothing_is_left_of_a_save_that_failed(engine: Path, tmp_path: Path) -> None:
    have(engine, "x:1", b"layers")
    (engine / "x_1").chmod(0)
    (engine / "x_1").unlink()
    (engine / "x_1").mkdir()
    with pytest.raises(ImageBuildError):
        save_image("x:1", lambda _: None)
    assert cached(tmp_path) == []


def test_why_the_engine_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert engine_problem() == ""
    monkeypatch.setenv("FAKE_NO_ENGINE", "1")
    assert engine_problem() == "no daemon"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine_problem() == "docker is not installed on this machine"


def test_room_that_is_known_before(engine: Path, catalog: Catalog) -> None:
    tag = make_build_plan("litellm", catalog).tag
    use = resolve_images(declare(image_source="build"), catalog)["litellm"]
    assert image_need(use, is_local=False) is None
    have(engine, tag, b"x" * 700)
    assert image_need(use, is_local=False) == ImageNeed(tag, 700, 700)
    # what is built here is here
    assert image_need(use, is_local=True) is None
    assert image_need(resolve_images(declare(), catalog)["litellm"], is_local=False) is None
