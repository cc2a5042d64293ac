"""TGI's memory, and what it does not serve.

It takes nine tenths of its fraction of a card (``TGI_WIGGLE_ROOM``): weights, what one prefill of
``--max-batch-prefill-tokens`` left reserved, and for the KV cache all the rest (``warmup`` in
``server/text_generation_server/models/flash_causal_lm.py`` of 3.3.7). CUDA graphs come on top, in
the tenth that is left. What others have on the card is taken off too, so that it cannot share one.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.sizing.device import Device
from deploy.sizing.overhead import Batch
from deploy.sizing.precision import Precision
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, reason, remedy
from deploy.sizing.release import Release
from deploy.spec.engine_kinds import ENGINES

VERSION = "3.3.7"
"""The last one, and what the rules here were read from."""
RELEASE = Release(
    (0, 0),
    38,
    non_torch_gib=0.6,
    tensor_parallel_gib=0.6,
    hopper_tensor_parallel_gib=1.5,
    noise_share=1.25,
    is_trusted=False,
)
"""PyTorch's sampler, and what its allocator has reserved, up to twice what was used; as with vLLM
before 0.8, which profiled likewise. CUDA and NCCL as SGLang's. No start-up was compared: "yes" is
never said."""
MAX_NUM_BATCHED_TOKENS = 4096
"""Of a prefill; TGI's own default follows from the card where it knows that."""
MAX_NUM_SEQS = 128
MOST = ENGINES["tgi"].most_of_card
"""Of a card, whatever fraction it is told."""
SERVED = ("granite", "llama", "mistral", "phi3", "qwen2")
"""Kinds of models of the catalogue that it has code of its own for
(``server/text_generation_server/models/__init__.py``); others it would run by Transformers."""
METHODS = ("none", "awq", "bitsandbytes", "fp8", "gptq")
FIRST_CAPABILITY, LAST_CAPABILITY = (8, 0), (9, 0)
"""What its image is built for: ``TORCH_CUDA_ARCH_LIST="8.0;8.6;9.0+PTX"``, CUDA 12.4."""


def default_batch() -> Batch:
    """What a step may hold unless declared."""
    return Batch(MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS)


def cuda_memory_fraction(utilization: float) -> float:
    """``--cuda-memory-fraction`` for a share of the card."""
    return round(min(utilization / MOST, 1.0), 3)


def refusals(model: Architecture, device: Device, precision: Precision) -> Iterator[Reason]:
    """Why TGI does not serve a model on a card, or why that cannot be sized."""
    other = remedy(RemedyKind.USE_VLLM)
    if model.model_type not in SERVED:
        served = ", ".join(SERVED)
        figures = {"engine": "TGI", "model_type": model.model_type, "served": served}
        yield Reason(ReasonKind.OTHER_MODEL, figures, (other,))
    elif any(layer.kind != "full" for layer in model.layers) or model.vision is not None:
        what = "images" if model.vision is not None else "sliding windows"
        yield reason(ReasonKind.NOT_MODELLED, other, engine="TGI", what=what)
    if precision.quantization.method not in METHODS:
        figures = {"engine": "TGI", "method": precision.quantization.method}
        yield Reason(ReasonKind.OTHER_WEIGHTS, figures, (remedy(RemedyKind.OTHER_METHOD),))
    if device.vendor == "amd":
        yield reason(ReasonKind.NOT_DEPLOYED_ON, other, engine="TGI", vendor="AMD")
    elif device.vendor == "nvidia" and not (
        FIRST_CAPABILITY <= device.compute_capability <= LAST_CAPABILITY
    ):
        capability = ".".join(map(str, device.compute_capability))
        yield reason(ReasonKind.OTHER_CARD, other, device=device.name, capability=capability)


def split_problems(model: Architecture, tp: int) -> Iterator[Reason]:
    """TGI does not put one KV head on several GPUs."""
    if model.kv_heads % tp:
        yield reason(ReasonKind.KV_HEADS, kv_heads=model.kv_heads, tensor_parallel_size=tp)
