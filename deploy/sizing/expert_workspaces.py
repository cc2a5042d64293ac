"""What kernels for experts work in, on a whole batch, in bytes of one GPU."""

from __future__ import annotations

from deploy.catalog.architecture import Architecture
from deploy.catalog.experts import Moe
from deploy.catalog.weight_tensors import share

DEEP_GEMM_ROWS = 128
"""DeepGEMM pads the rows of each expert to this."""
MOST_ROWS = 2 * 18688
"""TensorRT-LLM's DeepGEMM takes more tokens in two parts at a time, each with a workspace."""


def padded_bytes(model: Architecture, moe: Moe, slices: int, tokens: int) -> float:
    """DeepGEMM in vLLM: two workspaces with each expert's rows padded to 128.

    deep_gemm_moe.py, ``workspace_shapes``.
    """
    inner = share(moe.intermediate, slices)
    rows = tokens * moe.experts_per_token + moe.experts * (DEEP_GEMM_ROWS - 1)
    widths = max(2 * inner, model.hidden) + max(inner, model.hidden)
    return 2.0 * rows * widths


def permuted_bytes(model: Architecture, moe: Moe, slices: int, tokens: int) -> float:
    """CUTLASS in TensorRT-LLM: a row for every expert that a token goes to.

    Its input, gate and up, their product, and the output (``fused_moe`` of
    ``tensorrt_llm/_torch/modules/fused_moe/fused_moe_cutlass.py``), as if all of them were here.
    """
    inner, width = share(moe.intermediate, slices), moe.width(model.hidden)
    up = 3 if model.family.gated_mlp else 2
    return 2.0 * tokens * moe.experts_per_token * (2 * width + up * inner)


def masked_bytes(
    model: Architecture, moe: Moe, slices: int, experts_here: int, tokens: int
) -> float:
    """DeepGEMM in TensorRT-LLM: every expert of the GPU has room for every token.

    ``get_workspace`` of ``tensorrt_llm/_torch/modules/fused_moe/fused_moe_deepgemm.py``: inputs
    in FP8 with a scale for 128 values, and results in 16 bits.
    """
    inner, width = share(moe.intermediate, slices), moe.width(model.hidden)
    rows = share(min(tokens, MOST_ROWS), DEEP_GEMM_ROWS) * DEEP_GEMM_ROWS
    inputs = max(width, inner)
    each = inputs + 4 * share(inputs, 4 * DEEP_GEMM_ROWS) + 2 * max(2 * inner, width)
    return float(experts_here * rows * each)
