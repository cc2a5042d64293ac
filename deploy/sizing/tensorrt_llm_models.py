"""What TensorRT-LLM serves on which cards, and by which kernels.

Sources, of revisions around 1.2: ``docs/source/models/supported-models.md`` and
``docs/source/features/quantization.md`` for models and weights; the guides of gpt-oss and
DeepSeek-R1 in ``docs/source/deployment-guide`` and ``resolve_moe_backend`` in
``tensorrt_llm/_torch/model_config.py`` for the kernels of experts.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.sizing.device import Device
from deploy.sizing.precision import Precision
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, reason, remedy

SERVED = (
    "deepseek_v3",
    "glm4_moe",
    "gpt_oss",
    "kimi_k2",
    "llama",
    "mistral",
    "mixtral",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
)
"""Kinds of models of the catalogue that its PyTorch backend has code for; Kimi K2 is one of
DeepSeek-V3's architecture."""
FULL_WINDOWS = frozenset({"gpt_oss"})
"""Models with sliding windows that it serves: their layers keep every token, as no
``max_attention_window`` is declared."""
LEAST_CAPABILITY: dict[str, tuple[int, int]] = {
    "none": (8, 0),
    "fp8": (8, 9),
    "mxfp4": (9, 0),
    "nvfp4": (10, 0),
}
"""By how the weights are kept: AWQ and GPTQ it loads as ModelOpt makes them alone, which no one
publishes of these models."""
LATENT_CAPABILITY = (9, 0)
"""Latent attention: prompts in chunks, which are always asked for, and reused blocks
(``tensorrt_llm/_torch/pyexecutor/py_executor_creator.py``)."""
HOPPER, AFTER_BLACKWELL = (9, 0), (12, 0)
"""FP8 in blocks has kernels for Hopper and for data-centre Blackwell."""
MXFP4_ALIGNMENT = (256, 256)
"""What its kernels pad the experts' inner size and the hidden size to, at most."""


def moe_backend(model: Architecture, device: Device, precision: Precision) -> str:
    """``moe_config.backend``; empty where upstream's own choice serves these weights on this card.

    Its default is CUTLASS, of gpt-oss what is fastest on the card and in its image; neither serves
    FP8 in blocks on Blackwell ("one must set the moe_config.backend explicitly").
    """
    is_blocks = model.moe is not None and bool(precision.quantization.block_rows)
    return "DEEPGEMM" if is_blocks and device.is_data_centre_blackwell else ""


def refusals(model: Architecture, device: Device, precision: Precision) -> Iterator[Reason]:
    """Why TensorRT-LLM does not serve a model on a card, or why that cannot be sized."""
    other, method = remedy(RemedyKind.USE_VLLM), precision.quantization.method
    if what := _not_modelled(model):
        yield reason(ReasonKind.NOT_MODELLED, other, engine="TensorRT-LLM", what=what)
    elif model.model_type not in SERVED:
        figures = {"model_type": model.model_type, "served": ", ".join(SERVED)}
        yield Reason(ReasonKind.OTHER_MODEL, {"engine": "TensorRT-LLM", **figures}, (other,))
    if method not in LEAST_CAPABILITY:
        figures = {"engine": "TensorRT-LLM", "method": method}
        yield Reason(ReasonKind.OTHER_WEIGHTS, figures, (remedy(RemedyKind.OTHER_METHOD),))
    if device.vendor == "amd":
        yield reason(ReasonKind.NVIDIA_ALONE, other, engine="TensorRT-LLM", vendor="AMD")
    elif device.vendor == "nvidia":
        yield from _capability_refusals(model, device, precision)


def _capability_refusals(
    model: Architecture, device: Device, precision: Precision
) -> Iterator[Reason]:
    method, blocks = precision.quantization.method, precision.quantization.block_rows
    capability, least = device.compute_capability, LEAST_CAPABILITY.get(method)
    if least and capability < least:
        is_plain = method == "none"
        what = "TensorRT-LLM needs" if is_plain else f"{method} weights need, with TensorRT-LLM,"
        yield _needs(device, what, least)
    elif blocks and not HOPPER <= capability < AFTER_BLACKWELL:
        way, shown = remedy(RemedyKind.OTHER_METHOD), _shown(capability)
        yield reason(ReasonKind.NO_BLOCKS, way, device=device.name, capability=shown)
    if model.mla is not None and capability < LATENT_CAPABILITY:
        yield _needs(device, "latent attention needs, with TensorRT-LLM,", LATENT_CAPABILITY)


def _needs(device: Device, what: str, needed: tuple[int, int]) -> Reason:
    return reason(
        ReasonKind.CAPABILITY,
        remedy(RemedyKind.USE_VLLM),
        what=what,
        needed=_shown(needed),
        device=device.name,
        capability=_shown(device.compute_capability),
    )


def _shown(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _not_modelled(model: Architecture) -> str:
    """What it has workspaces or pools of its own for, or would load in another type."""
    if not model.keeps_tokens:
        return "models that keep no tokens"
    if model.mla is not None and model.mla.is_sparse:
        return "the index of sparse attention"
    whole = {"full", "mla"} | ({"sliding"} if model.model_type in FULL_WINDOWS else set())
    if any(layer.kind not in whole for layer in model.layers):
        return "layers without full attention"
    if model.vision is not None:
        return "images"
    return "weights published in 32 bits" if model.dtype == "float32" else ""
