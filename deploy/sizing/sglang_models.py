"""What SGLang serves on which cards, and how its kernels and pools have it.

Sources, all of 0.5.21: ``sglang/srt/model_executor/pool_configurator.py`` for its pools,
``sglang/srt/layers/quantization`` and ``sglang/srt/arg_groups`` for its kernels.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.errors import every
from deploy.sizing.device import Device
from deploy.sizing.precision import Precision
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, reason, remedy

ROCM_GFX = ("gfx942", "gfx950")
"""What upstream's ROCm images are built for: .github/workflows/release-docker-amd.yml."""
LEAST_CAPABILITY = (8, 0)
"""Upstream names 7.5, at which its images were seen to have no kernels
(https://github.com/sgl-project/sglang/issues/24224)."""
FP8_EXPERTS = (8, 9)
"""Experts in FP8 have no way through Marlin, which linear layers take on older cards
(``Fp8MoEMethod``)."""
SPARSE_CAPABILITY = (9, 0)
"""What the kernels of sparse attention are for (``_dsa_split_backend_resolution``)."""
NOT_ON_AMD = ("bitsandbytes", "nvfp4")
"""Experimental, or wants a package that is not in the image:
https://docs.sglang.io/docs/advanced_features/quantization."""
MXFP4_GFX = "gfx950"
"""The only one that SGLang has ``mxfp4`` for (layers/quantization/__init__.py)."""
BLACKWELL = (10, 0)
ENCODERS = frozenset({"qwen3_5_text", "qwen3_5_moe_text"})
"""Models whose encoder of images is known (Qwen3.5 to 3.8)."""
WINDOW_POOLS = frozenset({"gpt_oss", "gemma4_text"})
"""Models whose sliding layers have a pool of their own (``is_hybrid_swa_model``)."""
WINDOW_SHARE = 0.8
"""``--swa-full-tokens-ratio``: tokens of that pool for each token of the other."""


def window_share(model: Architecture) -> float:
    """Tokens that sliding layers have room for, for each token that the others have."""
    return WINDOW_SHARE if model.model_type in WINDOW_POOLS else 1.0


def kv_dtype(model: Architecture, device: Device, default: str) -> str:
    """The KV cache's type where nothing is declared.

    Sparse attention has FP8 on Blackwell (``_dsa_kv_cache_dtype_default``).
    """
    is_sparse = model.mla is not None and model.mla.is_sparse
    return "fp8" if is_sparse and _is_blackwell(device) else default


def mxfp4_alignment(device: Device) -> tuple[int, int]:
    """Multiples that MXFP4 experts' inner size and the hidden size are padded to.

    FlashInfer's on Blackwell, AITER's on AMD, else those of triton_kernels (``Mxfp4MoEMethod``).
    """
    if device.vendor == "amd":
        return 256, 256
    return (128, 256) if _is_blackwell(device) else (64, 1)


def fp4_gemm_backend(device: Device, precision: Precision) -> str:
    """``--fp4-gemm-backend`` where upstream's own choice would not start; empty elsewhere.

    NVFP4 before Blackwell: "Use --fp4-gemm-backend marlin on SM80-SM90"
    (``layers/quantization/modelopt_quant.py``).
    """
    is_older = device.vendor == "nvidia" and not _is_blackwell(device)
    return "marlin" if precision.quantization.method == "nvfp4" and is_older else ""


def refusals(model: Architecture, device: Device, precision: Precision) -> Iterator[Reason]:
    """Why SGLang does not serve a model on a card, or why that cannot be sized."""
    other = remedy(RemedyKind.USE_VLLM)
    if what := _not_modelled(model):
        yield reason(ReasonKind.NOT_MODELLED, other, engine="SGLang", what=what)
    if device.vendor == "amd":
        yield from _amd_refusals(model, device, precision)
    elif device.vendor == "nvidia":
        yield from _capability_refusals(model, device, precision)


def whole_expert_refusals(device: Device, precision: Precision) -> Iterator[Reason]:
    """Where whole experts become larger than they are published.

    The package triton_kernels takes slices alone (``ep_size == 1`` in ``_gpt_oss_overrides``);
    without it MXFP4 is turned into 16 bits (``upcast_from_mxfp``).
    """
    if precision.quantization.method == "mxfp4" and not _is_blackwell(device):
        yield reason(ReasonKind.UPCAST, remedy(RemedyKind.SLICED_EXPERTS), device=device.name)


def _amd_refusals(model: Architecture, device: Device, precision: Precision) -> Iterator[Reason]:
    method = precision.quantization.method
    if device.gfx not in ROCM_GFX:
        yield reason(
            ReasonKind.NOT_FOR_GFX,
            remedy(RemedyKind.USE_VLLM),
            needed=every(ROCM_GFX),
            device=device.name,
            gfx=device.gfx,
        )
    elif method in NOT_ON_AMD or (method == "mxfp4" and device.gfx != MXFP4_GFX):
        way = remedy(RemedyKind.OTHER_METHOD)
        yield reason(ReasonKind.NOT_ON_AMD, way, method=method, device=device.gfx)
    if model.mla is not None and model.mla.is_sparse:
        what = "the index of sparse attention on AMD"
        way = remedy(RemedyKind.USE_VLLM)
        yield reason(ReasonKind.NOT_MODELLED, way, engine="SGLang", what=what)


def _capability_refusals(
    model: Architecture, device: Device, precision: Precision
) -> Iterator[Reason]:
    method = precision.quantization.method
    if device.compute_capability < LEAST_CAPABILITY:
        yield _needs(device, "SGLang's images need", LEAST_CAPABILITY)
    if method == "fp8" and model.moe is not None and device.compute_capability < FP8_EXPERTS:
        yield _needs(device, "experts in fp8 need, with SGLang,", FP8_EXPERTS)
    is_sparse = model.mla is not None and model.mla.is_sparse
    if is_sparse and device.compute_capability < SPARSE_CAPABILITY:
        yield _needs(device, "sparse attention needs, with SGLang,", SPARSE_CAPABILITY)


def _needs(device: Device, what: str, needed: tuple[int, int]) -> Reason:
    return reason(
        ReasonKind.CAPABILITY,
        remedy(RemedyKind.USE_VLLM),
        what=what,
        needed=".".join(map(str, needed)),
        device=device.name,
        capability=".".join(map(str, device.compute_capability)),
    )


def _is_blackwell(device: Device) -> bool:
    return device.vendor == "nvidia" and device.compute_capability >= BLACKWELL


def _not_modelled(model: Architecture) -> str:
    """What SGLang keeps in pools of their own, or has room of its own for."""
    if not model.keeps_tokens:
        return "models that keep no tokens"
    return "images" if model.vision and model.model_type not in ENCODERS else ""
