"""Bytes of a weight tensor, and which GPUs can use which precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog.architecture import Architecture
from deploy.catalog.quantization import Quantization
from deploy.catalog.weight_tensors import WeightTensor
from deploy.sizing.device import Device

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
SCALE_BYTES = {"mxfp4": 1, "nvfp4": 1, "bitsandbytes": 4}
MXFP4_ALIGNMENT = 256
MINIMUM_CAPABILITY = {
    "awq": (7, 5),
    "gptq": (6, 0),
    "int8": (7, 5),
    "fp8": (7, 5),
    "mxfp4": (8, 0),
    "nvfp4": (7, 5),
    "bitsandbytes": (7, 0),
}
"""Oldest compute capability of each method: vLLM's table of quantised kernels."""


@dataclass(frozen=True)
class Precision:
    """How weights are stored on the GPU."""

    dtype: str
    """Type of what is not quantised."""
    quantization: Quantization
    """How linear layers are stored."""
    marlin: bool
    """Whether MXFP4 goes through Marlin, which pads the hidden size too."""

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
        rows, columns = _padded(tensor, precision.marlin)
    return rows * columns * scheme.bits // 8 + _scale_bytes(scheme, rows, columns)


def _scale_bytes(scheme: Quantization, rows: int, columns: int) -> int:
    if scheme.block_rows:
        return 4 * -(-rows // scheme.block_rows) * -(-columns // max(scheme.group_size, 1))
    if not scheme.group_size:
        return 4 * rows
    groups = rows * -(-columns // scheme.group_size)
    zero_points = groups * scheme.bits // 8 if scheme.zero_points else 0
    return groups * SCALE_BYTES.get(scheme.method, 2) + zero_points


def _padded(tensor: WeightTensor, marlin: bool) -> tuple[int, int]:
    """MXFP4 kernels want sizes in multiples of 256: the experts' inner one, Marlin both."""
    down = tensor.module.endswith("down")
    halves = 1 if down else 2
    inner, hidden = (tensor.columns, tensor.rows) if down else (tensor.rows // 2, tensor.columns)
    inner = -(-inner // MXFP4_ALIGNMENT) * MXFP4_ALIGNMENT * halves
    hidden = -(-hidden // MXFP4_ALIGNMENT) * MXFP4_ALIGNMENT if marlin else hidden
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


def hardware_refusals(
    device: Device, precision: Precision, kv_cache_dtype: str, dtype_declared: bool
) -> Iterator[str]:
    """Why vLLM does not run this precision on this hardware."""
    if device.vendor == "apple":
        yield "vLLM does not run on Apple GPUs: use --engine ollama (natively, not in a container)"
        return
    if device.vendor == "cpu":
        yield "the memory of this machine's CPU is not declared: vLLM is sized on GPUs only"
        return
    if device.vendor != "nvidia":
        return
    capability, shown = device.compute_capability, _shown(device)
    if precision.dtype == "bfloat16" and dtype_declared and capability < (8, 0):
        yield f"bfloat16 needs compute capability 8.0, {shown}: use --dtype float16"
    method = precision.quantization.method
    needed = MINIMUM_CAPABILITY.get(method, (7, 0))
    if capability < needed:
        wanted = f"{needed[0]}.{needed[1]}"
        yield f"{method} weights need compute capability {wanted}, {shown}: choose another method"
    if kv_cache_dtype == "fp8" and capability < (8, 0):
        yield f"an fp8 KV cache needs compute capability 8.0, {shown}: use --kv-cache-dtype auto"


def hardware_warnings(device: Device, precision: Precision, kv_cache_dtype: str) -> Iterator[str]:
    """What runs, but not as its name promises."""
    method = precision.quantization.method
    if device.vendor == "amd":
        yield "AMD: vLLM runs with ROCm; the overheads are calibrated on NVIDIA and less certain"
        if method in {"fp8", "mxfp4", "nvfp4"} and not device.supports_fp8:
            yield f"{method} weights have no native kernels on {device.gfx}: check before buying"
        return
    capability, shown = device.compute_capability, _shown(device)
    if method == "fp8" and capability < (8, 9):
        yield f"fp8 computes from compute capability 8.9, {shown}: weights only (Marlin), no faster"
    if method in {"mxfp4", "nvfp4"} and capability < (9, 0):
        yield f"{method} runs through Marlin on {device.name}: weights only"
    if kv_cache_dtype == "fp8" and (8, 0) <= capability < (8, 9):
        yield f"an fp8 KV cache saves memory on {device.name} but is converted at every use"
    if capability < (7, 5):
        yield "vLLM's default images (CUDA 13) dropped compute capability 7.0: use a -cu129 image"


def _shown(device: Device) -> str:
    major, minor = device.compute_capability
    return f"{device.name} has {major}.{minor}"
