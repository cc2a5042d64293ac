"""Model files of the operator's own: one file, or all parts of a model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.catalog import Catalog
from deploy.errors import InventoryFileError
from deploy.model_files import ModelFile, read_model_files
from tests.conftest import MakeArtefacts, declare
from tests.split_gguf import split_gguf

NAMES = [f"coder-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Three parts, and what does not belong to them."""
    for number, name in enumerate([*NAMES, "coder-00004-of-00004.gguf", "other.gguf"]):
        (tmp_path / name).write_bytes(b"GGUF" + bytes([number]) * (number + 1))
    return [tmp_path / name for name in NAMES]


def read(path: Path, catalog: Catalog) -> ModelFile:
    spec = declare(models=[{"name": "own", "path": path.name}])
    return read_model_files(spec, catalog, path.parent)["own"]


def test_all_parts_are_found_from_the_first(parts: list[Path], catalog: Catalog) -> None:
    file = read(parts[0], catalog)
    assert [part.path for part in file.parts] == parts
    assert [part.sha256 for part in file.parts] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in parts
    ]
    assert (file.path, file.size_bytes) == (parts[0], 5 + 6 + 7)


def test_a_changed_part_is_another_model(parts: list[Path], catalog: Catalog) -> None:
    before = read(parts[0], catalog).sha256
    parts[2].write_bytes(b"GGUFxxx")
    assert read(parts[0], catalog).sha256 != before


def test_one_file_has_its_own_digest(parts: list[Path], catalog: Catalog) -> None:
    other = parts[0].with_name("other.gguf")
    assert read(other, catalog).sha256 == hashlib.sha256(other.read_bytes()).hexdigest()


def test_links_of_a_cache_keep_their_names(parts: list[Path], catalog: Catalog) -> None:
    """As Hugging Face keeps files: a snapshot of links to files that digests name."""
    snapshot = parts[0].parent / "snapshot"
    snapshot.mkdir()
    for index, path in enumerate(parts):
        blob = path.rename(path.with_name(f"blob{index}"))
        (snapshot / NAMES[index]).symlink_to(blob)
    file = read(snapshot / NAMES[0], catalog)
    assert [part.path.name for part in file.parts] == NAMES


def refused(path: Path, catalog: Catalog) -> str:
    with pytest.raises(InventoryFileError) as error:
        read(path, catalog)
    return str(error.value)


def test_a_missing_part_is_named(parts: list[Path], catalog: Catalog) -> None:
    parts[1].unlink()
    message = refused(parts[0], catalog)
    assert "models[0].path: 1 of 3 parts are missing in" in message
    assert NAMES[1] in message
    assert "fix: download the missing parts" in message


def test_the_first_part_is_declared(parts: list[Path], catalog: Catalog) -> None:
    message = refused(parts[1], catalog)
    assert f"{NAMES[1]} is not the first part of its model" in message
    assert f"allowed: {NAMES[0]}" in message


def test_every_part_is_a_gguf_file(parts: list[Path], catalog: Catalog) -> None:
    parts[2].write_text("version https://git-lfs.github.com/spec/v1\n")
    message = refused(parts[0], catalog)
    assert f"{parts[2]} is not a GGUF file" in message
    assert "git lfs pull" in message


@pytest.mark.parametrize("kind", ["llama_cpp", "ollama"])
def test_engines_are_given_the_parts(make: MakeArtefacts, parts: list[Path], kind: str) -> None:
    made = make(
        engine={"kind": kind},
        models=[{"name": "own", "path": str(parts[0]), "max_model_len": 2048}],
    )
    engine = made.stack.units[0]
    [file] = engine.model_files
    (target,) = [t for t, mount in engine.container.mounts.items() if mount.kind == "bind"]
    assert [path.name for _, path in file.parts] == NAMES
    assert {str(path.parent) for _, path in file.parts} == {engine.container.mounts[target].source}
    if kind == "llama_cpp":
        # it finds the others itself
        command = engine.container.command
        assert command[command.index("--model") + 1] == f"{target}/{NAMES[0]}"
    else:
        wanted = [f"FROM {target}/{name}" for name in NAMES]
        assert engine.models[0].modelfile.splitlines()[:3] == wanted


@pytest.fixture
def split(tmp_path: Path, catalog: Catalog) -> list[Path]:
    """The parts of a real model."""
    whole = catalog.models["tiny-coder"].path
    assert whole is not None
    return split_gguf(whole, tmp_path / "tiny", 3)


def test_real_parts_are_whole(split: list[Path], catalog: Catalog) -> None:
    assert len(read(split[0], catalog).parts) == 3


@pytest.mark.parametrize("name", ["tiny.gguf", "tiny-00001-of-00001.gguf", "tiny.gguf.part1of3"])
def test_a_part_with_another_name(name: str, split: list[Path], catalog: Catalog) -> None:
    """Engines find the others by the name, and compare it with what the file says."""
    with pytest.raises(InventoryFileError, match="is one of 3 parts of a model") as error:
        read(split[0].rename(split[0].with_name(name)), catalog)
    assert "-00001-of-00003.gguf" in error.value.problems[0].allowed
    assert "llama-gguf-split --merge" in error.value.problems[0].fix


@pytest.mark.parametrize("name", ["tiny.gguf", "tiny.gguf-split-a", "tiny.gguf.part1of2"])
def test_a_piece_of_a_file(name: str, tmp_path: Path, catalog: Catalog) -> None:
    """A download that was cut, or a file that was cut to be smaller: it begins as a whole one."""
    whole = catalog.models["tiny-coder"].path
    assert whole is not None
    content = whole.read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InventoryFileError, match="ends before its last tensor") as error:
        read(path, catalog)
    assert "cat x.gguf*" in error.value.problems[0].fix
    path.write_bytes(content)
    assert read(path, catalog).size_bytes == len(content)
