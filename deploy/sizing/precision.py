"""Bytes of a weight tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.catalog.quantization import Quantization
from deploy.catalog.weight_tensors import WeightTensor

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
SCALE_BYTES = {"mxfp4": 1, "nvfp4": 1, "bitsandbytes": 4}
MXFP4_ALIGNMENT = 256
"""What vLLM's kernels pad to: the experts' inner size, Marlin the hidden size too."""


@dataclass(frozen=True)
class Precision:
    """How weights are stored on the GPU."""

    dtype: str
    """Type of what is not quantised."""
    quantization: Quantization
    """How linear layers are stored."""
    mxfp4_alignment: tuple[int, int] = (MXFP4_ALIGNMENT, 1)
    """Multiples that MXFP4's kernels pad the experts' inner size and the hidden size to."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Sizes are remembered by precision: a scheme may name hundreds of modules."""
        return hash((self.dtype, self.quantization, self.mxfp4_alignment))

    @property
    def dtype_bytes(self) -> int:
        """Bytes of a weight that is not quantised."""
        return DTYPE_BYTES[self.dtype]


def tensor_bytes(tensor: WeightTensor, model: Architecture, precision: Precision) -> int:
    """Bytes of one copy of a tensor, scales and zero points included."""
    scheme = precision.quantization
    if not tensor.is_linear or not _applies(scheme, tensor, model):
        return tensor.rows * tensor.columns * precision.dtype_bytes
    rows, columns = tensor.rows, tensor.columns
    if scheme.method == "mxfp4":
        rows, columns = _padded(tensor, *precision.mxfp4_alignment)
    return rows * columns * scheme.bits // 8 + _scale_bytes(scheme, rows, columns)


def _scale_bytes(scheme: Quantization, rows: int, columns: int) -> int:
    if scheme.block_rows:
        return 4 * -(-rows // scheme.block_rows) * -(-columns // max(scheme.group_size, 1))
    if not scheme.group_size:
        return 4 * rows
    groups = rows * -(-columns // scheme.group_size)
    zero_points = groups * scheme.bits // 8 if scheme.zero_points else 0
    return groups * SCALE_BYTES.get(scheme.method, 2) + zero_points


def _padded(tensor: WeightTensor, inner_multiple: int, hidden_multiple: int) -> tuple[int, int]:
    """MXFP4 kernels want sizes in multiples of so much."""
    down = tensor.module.endswith("down")
    halves = 1 if down else 2
    inner, hidden = (tensor.columns, tensor.rows) if down else (tensor.rows // 2, tensor.columns)
    inner = -(-inner // inner_multiple) * inner_multiple * halves
    hidden = -(-hidden // hidden_multiple) * hidden_multiple
    return (hidden, inner) if down else (inner, hidden)


def _applies(scheme: Quantization, tensor: WeightTensor, model: Architecture) -> bool:
    if not scheme.is_quantized:
        return False
    if scheme.method == "mxfp4":
        return "experts" in tensor.module
    return not any(_names(entry, tensor.module) for entry in _everywhere(scheme, model))


def _everywhere(scheme: Quantization, model: Architecture) -> Iterator[str]:
    """Skipped modules that are skipped in every layer, without the layer's number."""
    counts: dict[str, int] = {}
    for entry in scheme.skipped:
        if re.search(r"(vis|lm_head|embed|router|gate$)", entry):
            continue
        name = re.sub(r"^.*?layers\.(\d+|\*|\.\*)\.", "", entry.removeprefix("re:"))
        numbered = re.search(r"layers\.\d+\.", entry) is not None
        counts[name] = counts.get(name, 0) + (1 if numbered else len(model.layers))
    return (name for name, count in counts.items() if count >= len(model.layers))


def _names(entry: str, module: str) -> bool:
    part = module.split(".", maxsplit=1)[0]
    return entry.strip("*.") in {part, module} or entry.startswith(f"{part}.")
