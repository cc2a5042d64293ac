"""What GGUF files say of themselves, next to what their makers' config.json says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.catalog.entry import DIRECTORY
from deploy.catalog.gguf_header import config_of
from tests.split_gguf import split_gguf

TINY = DIRECTORY / "models" / "tiny-coder-q8_0.gguf"
CONTENT = TINY.read_bytes()
HEAD = CONTENT.index(b"blk.3.attn_v.weight")
"""Where the head's last lines begin."""


def text(content: str) -> bytes:
    return struct.pack("<Q", len(content)) + content.encode()


def written(directory: Path, content: bytes) -> Path:
    path = directory / "own.gguf"
    path.write_bytes(content)
    return path


def test_the_tiny_model_is_what_its_config_says() -> None:
    said = config_of([TINY])
    assert said is not None
    assert read_architecture(said) == read_architecture(load_catalog().models["tiny-coder"].config)


@pytest.mark.parametrize("parts", [2, 5])
def test_a_model_in_parts_is_the_same(tmp_path: Path, parts: int) -> None:
    paths = split_gguf(TINY, tmp_path / "tiny", parts)
    assert config_of(paths) == config_of([TINY])
    assert config_of(paths[1:]) is None


def test_a_head_of_its_own_is_not_tied(tmp_path: Path) -> None:
    at, (count,) = CONTENT.index(text("output_norm.weight")), struct.unpack_from("<Q", CONTENT, 8)
    more = text("output.weight") + struct.pack("<IQQIQ", 2, 128, 768, 0, 0)
    head = CONTENT[:8] + struct.pack("<Q", count + 1) + CONTENT[16:at] + more + CONTENT[at:]
    tied, own = config_of([TINY]), config_of([written(tmp_path, head)])
    assert tied is not None
    assert tied["tie_word_embeddings"] is True
    assert own == {**tied, "tie_word_embeddings": False}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # another architecture, a version to come, a key that is missing
        (text("qwen2"), text("qwenX")),
        (b"GGUF" + struct.pack("<I", 3), b"GGUF" + struct.pack("<I", 9)),
        (text("qwen2.block_count"), text("qwen2.block_couNt")),
        # experts, of whose sizes nothing is read
        (text("qwen2.rope.freq_base"), text("qwen2.expert_count")),
    ],
)
def test_what_is_not_said_is_not_guessed(tmp_path: Path, old: bytes, new: bytes) -> None:
    content = CONTENT.replace(old, new, 1)
    assert content != CONTENT
    assert config_of([written(tmp_path, content)]) is None


def test_no_file_and_no_gguf(tmp_path: Path) -> None:
    assert config_of([tmp_path / "nowhere.gguf"]) is None
    assert config_of([written(tmp_path, b"GGUF" + bytes(1000))]) is None
    assert config_of([written(tmp_path, b"PK\x03\x04" + bytes(1000))]) is None


def test_arrays_in_arrays_end(tmp_path: Path) -> None:
    deep = struct.pack("<IQ", 9, 1) * 5000
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 9) + deep
    assert config_of([written(tmp_path, head)]) is None


@given(st.integers(min_value=0, max_value=HEAD))
def test_a_file_that_is_cut_says_nothing(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    assert config_of([written(tmp_path_factory.mktemp("cut"), CONTENT[:at])]) is None


@given(st.integers(min_value=4, max_value=HEAD), st.binary(min_size=8, max_size=8))
def test_a_file_that_is_damaged_breaks_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    content = CONTENT[:at] + noise + CONTENT[at + len(noise) :]
    config_of([written(tmp_path_factory.mktemp("noise"), content)])
