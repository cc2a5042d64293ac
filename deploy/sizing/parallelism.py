"""Which tensor_parallel_size and pipeline_parallel_size a model allows, and why not others.

Sources: vLLM's ModelConfig.verify_with_parallel_config (heads), QKVParallelLinear (KV heads),
VocabParallelEmbedding (vocabulary), the group checks of AWQ, GPTQ and block-wise FP8.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.catalog.quantization import Quantization
from deploy.catalog.weight_tensors import share
from deploy.sizing.weights import VOCAB_PADDING

LISTED_UP_TO = 16
"""Legal values are listed up to this many GPUs."""


def tensor_parallel_problems(
    model: Architecture, quantization: Quantization, tp: int
) -> Iterator[str]:
    """Why the model cannot be split over ``tp`` GPUs."""
    if model.heads % tp:
        yield f"{model.heads} attention heads do not divide by {tp}"
    yield from _kv_head_problems(model, tp)
    vocab = share(model.vocab, VOCAB_PADDING) * VOCAB_PADDING
    if vocab % tp:
        yield f"the vocabulary, {model.vocab} padded to {vocab}, does not divide by {tp}"
    for name, size in _split_sizes(model):
        if size % tp:
            yield f"{name} {size} does not divide by {tp}"
        else:
            yield from _group_problems(quantization, name, size, tp)


def legal_tensor_parallel_sizes(
    model: Architecture, quantization: Quantization, up_to: int = LISTED_UP_TO
) -> tuple[int, ...]:
    """Every legal ``tensor_parallel_size`` up to a number of GPUs."""
    return tuple(
        tp
        for tp in range(1, up_to + 1)
        if not any(tensor_parallel_problems(model, quantization, tp))
    )


def _kv_head_problems(model: Architecture, tp: int) -> Iterator[str]:
    if model.mla is not None:
        return
    small, large = sorted((model.kv_heads, tp))
    if large % small:
        verb = "divide by" if model.kv_heads > tp else "replicate evenly over"
        yield f"{model.kv_heads} KV heads do not {verb} {tp}"


def _split_sizes(model: Architecture) -> Iterator[tuple[str, int]]:
    """The sizes that are split over GPUs on the input side of a linear layer."""
    width = model.mla.v_head_dim if model.mla else model.head_dim
    yield "heads x head_dim", model.heads * width
    if model.moe is None or model.moe.dense_layers:
        yield "intermediate_size", model.intermediate
    if model.moe is not None:
        yield "the experts' intermediate size", model.moe.intermediate
        if model.moe.shared_intermediate:
            yield "the shared experts' intermediate size", model.moe.shared_intermediate


def _group_problems(scheme: Quantization, name: str, size: int, tp: int) -> Iterator[str]:
    group = scheme.group_size
    checked = scheme.method in {"awq", "gptq"} or scheme.block_rows
    if tp == 1 or not group or not checked or not (size // tp) % group:
        return
    groups = f"{size / group:g} groups of {group}"
    yield f"{name} {size} is {groups} of {scheme.method}, which do not divide by {tp}"
