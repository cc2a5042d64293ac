"""Splits a GGUF file as llama.cpp's own tool does, from the format's description.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

ALIGNMENT = 32
STRING, ARRAY, UINT16, INT32 = 8, 9, 2, 5
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each type of value that is neither text nor an array."""


@dataclass
class Reader:
    """Goes through a file's head."""

    data: bytes
    at: int = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return int(value)

    def text(self) -> bytes:
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def skip(self, kind: int) -> None:
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            kind, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip(kind)
        else:
            self.at += SIZES[kind]


@dataclass
class Tensor:
    """A tensor: the head of its description, and its data."""

    head: bytes
    data: bytes


def split_gguf(source: Path, prefix: Path, parts: int) -> list[Path]:
    """Write ``<prefix>-00001-of-0000N.gguf`` and so on; returns the paths."""
    reader = Reader(source.read_bytes())
    reader.at = 4
    version, tensors, values = reader.number("I"), reader.number("Q"), reader.number("Q")
    start = reader.at
    for _ in range(values):
        reader.text()
        reader.skip(reader.number("I"))
    metadata = reader.data[start : reader.at]
    rows = _tensors(reader, tensors)
    size = math.ceil(len(rows) / parts)
    paths = []
    for number in range(parts):
        path = prefix.with_name(f"{prefix.name}-{number + 1:05}-of-{parts:05}.gguf")
        own = _split_values(number, parts, tensors)
        own_metadata = (metadata if number == 0 else b"") + own
        count = (values if number == 0 else 0) + 3
        chosen = rows[number * size : (number + 1) * size]
        head = b"GGUF" + struct.pack("<IQQ", version, len(chosen), count) + own_metadata
        path.write_bytes(_with_tensors(head, chosen))
        paths.append(path)
    return paths


def _tensors(reader: Reader, count: int) -> list[Tensor]:
    heads, offsets = [], []
    for _ in range(count):
        start = reader.at
        reader.text()
        dimensions = reader.number("I")
        reader.at += 8 * dimensions + 4
        heads.append(reader.data[start : reader.at])
        offsets.append(reader.number("Q"))
    base = _aligned(reader.at)
    ends = [*sorted(offsets)[1:], len(reader.data) - base]
    end_of = dict(zip(sorted(offsets), ends, strict=True))
    return [
        Tensor(head, reader.data[base + offset : base + end_of[offset]])
        for head, offset in zip(heads, offsets, strict=True)
    ]


def _with_tensors(head: bytes, tensors: list[Tensor]) -> bytes:
    data = b""
    for tensor in tensors:
        head += tensor.head + struct.pack("<Q", len(data))
        data += tensor.data.ljust(_aligned(len(tensor.data)), b"\0")
    return head.ljust(_aligned(len(head)), b"\0") + data


def _split_values(number: int, parts: int, tensors: int) -> bytes:
    values = (
        (b"split.no", UINT16, struct.pack("<H", number)),
        (b"split.count", UINT16, struct.pack("<H", parts)),
        (b"split.tensors.count", INT32, struct.pack("<i", tensors)),
    )
    return b"".join(
        struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value
        for name, kind, value in values
    )


def _aligned(size: int) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT
