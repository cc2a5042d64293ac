"""What the head of a GGUF file says of its model, as a config.json would.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)
NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""How each type of value is packed, but for texts and arrays."""
TEXT, ARRAY = 8, 9
MOST_VALUES = 4_000_000
"""Of an array, and of entries: more is no head of a model, but a file that is something else."""
MOST_BYTES = 2**26
"""Of one text, a chat template for example."""
EMBEDDINGS, HEAD = "token_embd.weight", "output.weight"
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Architectures of GGUF files that say all that is needed, and what config.json calls them. Others
have windows, experts or states, of which their heads do not say all."""
KEYS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "context_length": "max_position_embeddings",
}
"""What must be there, and what config.json calls it."""
MATRIX = 2
UNLIKE = ("expert_count", "attention.sliding_window", "attention.kv_lora_rank")
"""What makes a model another than its architecture alone would be."""


ALIGNMENT = 32
"""Of the data of tensors, unless ``general.alignment`` says another."""


@dataclass(frozen=True)
class Extent:
    """How much of a model a file is to have."""

    parts: int
    """Of how many parts it is one."""
    least_bytes: int
    """The last of its tensors begins before that."""


@dataclass(frozen=True)
class _Head:
    values: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]
    """Their dimensions, the one that is adjacent in memory first."""
    extent: Extent


def config_of(parts: Iterable[Path]) -> dict[str, Any] | None:
    """What a config.json would say of a model.

    Args:
        parts: its file, or all of its files.

    Returns:
        The settings that sizing needs; ``None`` where the files do not say them, or cannot be read.
    """
    try:
        heads = [_read(path) for path in parts]
    except (OSError, ValueError, RecursionError, struct.error):
        return None
    values = {key: value for head in heads for key, value in head.values.items()}
    tensors = {name: shape for head in heads for name, shape in head.tensors.items()}
    return _config(values, tensors)


def extent_of(path: Path) -> Extent | None:
    """What a file's head says of how much it has; ``None`` where it cannot be read."""
    try:
        return _read(path).extent
    except (OSError, ValueError, RecursionError, struct.error):
        return None


def _config(values: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> dict[str, Any] | None:
    name = values.get("general.architecture")
    own = {
        key.removeprefix(f"{name}."): value
        for key, value in values.items()
        if key.startswith(f"{name}.")
    }
    embeddings = tensors.get(EMBEDDINGS, ())
    is_whole = all(type(own.get(key)) is int for key in KEYS) and len(embeddings) == MATRIX
    if name not in MODEL_TYPES or not is_whole or any(own.get(key) for key in UNLIKE):
        return None
    width = own.get("attention.key_length")
    return {
        "model_type": MODEL_TYPES[name],
        **{theirs: own[key] for key, theirs in KEYS.items()},
        **({"head_dim": width} if width else {}),
        "vocab_size": embeddings[1],
        "tie_word_embeddings": HEAD not in tensors,
    }


def _read(path: Path) -> _Head:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC or _number(file, "I") not in VERSIONS:
            raise ValueError(path)
        tensors, values = _count(file), _count(file)
        found = {}
        for _ in range(values):
            key = _text(file).decode()
            found[key] = _value(file, _number(file, "I"))
        shapes, last = {}, 0
        for _ in range(tensors):
            name = _text(file).decode()
            shapes[name] = tuple(_number(file, "Q") for _ in range(_number(file, "I")))
            _number(file, "I")
            last = max(last, _number(file, "Q"))
        return _Head(found, shapes, _extent(found, file.tell(), last if tensors else None))


def _extent(values: dict[str, Any], head_bytes: int, last: int | None) -> Extent:
    """What a file has at least, if its last tensor begins there after the head."""
    alignment = int(values.get("general.alignment") or ALIGNMENT)
    data_at = -(-head_bytes // alignment) * alignment
    parts = int(values.get("split.count") or 1)
    return Extent(parts, head_bytes if last is None else data_at + last + 1)


def _value(file: BinaryIO, kind: int) -> Any:
    """A number or a text; arrays, which are vocabularies mostly, are passed over."""
    if kind == TEXT:
        return _text(file).decode(errors="replace")
    if kind != ARRAY:
        return _number(file, _form(kind))
    kind, count = _number(file, "I"), _count(file)
    if kind in NUMBERS:
        file.seek(count * struct.calcsize(f"<{NUMBERS[kind]}"), 1)
        return None
    for _ in range(count):
        _value(file, kind)
    return None


def _form(kind: int) -> str:
    if kind not in NUMBERS:
        raise ValueError(kind)
    return NUMBERS[kind]


def _count(file: BinaryIO) -> int:
    count = int(_number(file, "Q"))
    if count > MOST_VALUES:
        raise ValueError(count)
    return count


def _text(file: BinaryIO) -> bytes:
    length = int(_number(file, "Q"))
    if length > MOST_BYTES:
        raise ValueError(length)
    return file.read(length)


def _number(file: BinaryIO, form: str) -> Any:
    (value,) = struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))
    return value
