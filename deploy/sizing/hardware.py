"""Which GPUs can use which precision."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.sizing.device import Device
from deploy.sizing.precision import Precision
from deploy.sizing.reasons import Reason, ReasonKind, Remedy, RemedyKind, reason, remedy
from deploy.spec.engine_kinds import ENGINES, EngineKind

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
Capability = tuple[int, int]


def hardware_refusals(
    device: Device,
    precision: Precision,
    kv_cache_dtype: str,
    dtype_declared: bool,
    engine: EngineKind = "vllm",
) -> Iterator[Reason]:
    """Why an engine does not run this precision on this hardware."""
    title = ENGINES[engine].title
    if device.vendor == "apple":
        yield reason(ReasonKind.ON_APPLE, remedy(RemedyKind.SERVE_GGUF), engine=title)
    elif device.vendor == "cpu":
        yield reason(ReasonKind.ON_CPU, engine=title)
    elif device.vendor == "nvidia":
        yield from _too_old(device, precision, kv_cache_dtype, dtype_declared)


def _too_old(
    device: Device, precision: Precision, kv_cache_dtype: str, dtype_declared: bool
) -> Iterator[Reason]:
    capability, method = device.compute_capability, precision.quantization.method
    if precision.dtype == "bfloat16" and dtype_declared and capability < (8, 0):
        yield _needs(device, "bfloat16 needs", (8, 0), remedy(RemedyKind.OTHER_DTYPE))
    needed = MINIMUM_CAPABILITY.get(method, (7, 0))
    if capability < needed:
        what = f"{method} weights need"
        yield _needs(device, what, needed, remedy(RemedyKind.OTHER_METHOD))
    if kv_cache_dtype == "fp8" and capability < (8, 0):
        yield _needs(device, "an fp8 KV cache needs", (8, 0), remedy(RemedyKind.AUTO_KV_CACHE))


def _needs(device: Device, what: str, needed: Capability, way: Remedy) -> Reason:
    return reason(
        ReasonKind.CAPABILITY,
        way,
        what=what,
        needed=_shown(needed),
        device=device.name,
        capability=_shown(device.compute_capability),
    )


def hardware_warnings(
    device: Device, precision: Precision, kv_cache_dtype: str, engine: EngineKind = "vllm"
) -> Iterator[Reason]:
    """What runs, but not as its name promises."""
    method = precision.quantization.method
    if device.vendor == "amd":
        yield reason(ReasonKind.AMD, engine=ENGINES[engine].title)
        if method == "nvfp4" or (method == "fp8" and not device.supports_fp8):
            yield reason(ReasonKind.NO_NATIVE_KERNELS, method=method, device=device.gfx)
        return
    capability, name = device.compute_capability, device.name
    if method == "fp8" and capability < (8, 9):
        shown = _shown(capability)
        yield reason(ReasonKind.FP8_WEIGHTS_ONLY, device=name, capability=shown)
    if method in {"mxfp4", "nvfp4"} and capability < (9, 0):
        yield reason(ReasonKind.MARLIN, method=method, device=name)
    if kv_cache_dtype == "fp8" and (8, 0) <= capability < (8, 9):
        yield reason(ReasonKind.FP8_CACHE_CONVERTED, device=name)
    if capability < (7, 5):
        yield reason(ReasonKind.OLD_FOR_IMAGES, remedy(RemedyKind.OTHER_IMAGE))


def _shown(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"
