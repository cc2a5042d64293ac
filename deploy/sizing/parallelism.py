"""Which tensor_parallel_size and pipeline_parallel_size a model allows, and why not others.

Sources: vLLM's ModelConfig.verify_with_parallel_config (heads), QKVParallelLinear (KV heads),
VocabParallelEmbedding (vocabulary), the group checks of AWQ, GPTQ and block-wise FP8.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.catalog.quantization import Quantization
from deploy.catalog.weight_tensors import share
from deploy.sizing.reasons import Reason, ReasonKind, reason
from deploy.sizing.weights import VOCAB_PADDING

EXPERTS = "the experts' intermediate size"
LISTED_UP_TO = 16
"""Legal values are listed up to this many GPUs."""


def tensor_parallel_problems(
    model: Architecture, quantization: Quantization, tp: int, expert_slices: int | None = None
) -> tuple[Reason, ...]:
    """Why the model cannot be split over ``tp`` GPUs, and its experts into so many slices.

    ``expert_slices`` is 1 where GPUs keep whole experts (expert parallelism), else ``tp`` unless
    said otherwise.
    """
    key = ("split", quantization, tp, expert_slices)
    return model.known(key, lambda: tuple(_problems(model, quantization, tp, expert_slices)))


def _problems(
    model: Architecture, quantization: Quantization, tp: int, expert_slices: int | None
) -> Iterator[Reason]:
    if model.heads % tp:
        yield reason(ReasonKind.HEADS, heads=model.heads, tensor_parallel_size=tp)
    yield from _kv_head_problems(model, tp)
    vocab = share(model.vocab, VOCAB_PADDING) * VOCAB_PADDING
    if vocab % tp:
        yield reason(
            ReasonKind.VOCABULARY, vocabulary=model.vocab, padded=vocab, tensor_parallel_size=tp
        )
    slices = tp if expert_slices is None else expert_slices
    for name, size in _split_sizes(model):
        parts = slices if name == EXPERTS else tp
        if size % parts:
            yield reason(ReasonKind.INNER_SIZE, name=name, size=size, tensor_parallel_size=parts)
        elif not name.endswith("of its state"):
            yield from _group_problems(quantization, name, size, parts)


def _kv_head_problems(model: Architecture, tp: int) -> Iterator[Reason]:
    if model.mla is not None:
        return
    for kv_heads in sorted({layer.kv_heads or model.kv_heads for layer in model.layers}):
        small, large = sorted((kv_heads, tp))
        if large % small:
            yield reason(ReasonKind.KV_HEADS, kv_heads=kv_heads, tensor_parallel_size=tp)


def _split_sizes(model: Architecture) -> Iterator[tuple[str, int]]:
    """The sizes that are split over GPUs on the input side of a linear layer."""
    width = model.mla.v_head_dim if model.mla else model.head_dim
    yield "heads x head_dim", model.heads * width
    if model.state is not None:
        yield "the heads of its state", model.state.heads
        if model.state.kind == "delta":
            yield "the key heads of its state", model.state.groups
    if model.moe is None or model.moe.beside_mlp or _has_mlp(model):
        yield "intermediate_size", model.intermediate
    if model.moe is not None:
        yield EXPERTS, model.moe.intermediate
        if model.moe.shared_intermediate:
            yield "the shared experts' intermediate size", model.moe.shared_intermediate


def _has_mlp(model: Architecture) -> bool:
    """Whether a layer of a mixture of experts has an ordinary MLP instead."""
    dense = model.moe.dense_layers if model.moe else frozenset[int]()
    return any(
        layer in dense and layer not in model.bare_layers for layer in range(len(model.layers))
    )


def _group_problems(scheme: Quantization, name: str, size: int, tp: int) -> Iterator[Reason]:
    group = scheme.group_size
    checked = scheme.method in {"awq", "gptq"} or scheme.block_rows
    if tp == 1 or not group or not checked or not (size // tp) % group:
        return
    yield reason(
        ReasonKind.QUANTIZATION_GROUPS,
        name=name,
        size=size,
        groups=size / group,
        group_size=group,
        method=scheme.method,
        tensor_parallel_size=tp,
    )
