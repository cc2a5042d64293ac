"""Weights per GPU: split by tensor parallelism, layers spread over pipeline stages."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.catalog.experts import ExpertSplit
from deploy.catalog.weight_tensors import (
    WeightTensor,
    all_tensors,
    embedding_tensors,
    head_tensors,
    layer_tensors,
    share,
)
from deploy.sizing.precision import Precision, tensor_bytes

MIB = 2**20
LORA_PARTS = {"self_attn.qkv_proj": 3, "mlp.up_proj": 2, "mlp.experts.up": 2}
"""Layers that are joined of several."""
VOCAB_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this (DEFAULT_VOCAB_PADDING_SIZE)."""


def stage_layers(layers: int, stages: int) -> tuple[range, ...]:
    """Layers of each pipeline stage: what is over goes to middle stages, from the last but one."""
    sizes = [layers // stages] * stages
    for index in range(layers % stages):
        sizes[stages - 2 - index] += 1
    starts = [sum(sizes[:stage]) for stage in range(stages)]
    return tuple(range(start, start + size) for start, size in zip(starts, sizes, strict=True))


def stage_weights_bytes(
    model: Architecture,
    precision: Precision,
    tp: int,
    pp: int,
    experts: ExpertSplit | None = None,
) -> tuple[int, ...]:
    """Bytes that the weights take on each GPU of each stage."""
    key = ("weights", precision, tp, pp, experts)
    return model.known(key, lambda: _stage_weights(model, precision, tp, pp, experts))


def _stage_weights(
    model: Architecture, precision: Precision, tp: int, pp: int, experts: ExpertSplit | None
) -> tuple[int, ...]:
    stages = stage_layers(len(model.layers), pp)
    split = (tp, experts)
    sizes = [_layers_bytes(model, precision, split, layers) for layers in stages]
    ends = tuple(_padded(embedding_tensors(model, tp, VOCAB_PADDING), model, precision))
    sizes[0] += sum(ends) + model.vision_parameters * precision.dtype_bytes // tp
    if model.tied_embeddings and pp > 1:
        sizes[-1] += sum(ends)
    sizes[-1] += sum(_padded(head_tensors(model, tp, VOCAB_PADDING), model, precision))
    positions = _position_table_bytes(model, precision)
    return tuple(size + positions for size in sizes)


def file_bytes(model: Architecture, precision: Precision) -> int:
    """Size of the weights on disk."""
    return model.known(("file", precision), lambda: _file_bytes(model, precision))


def _file_bytes(model: Architecture, precision: Precision) -> int:
    tensors = all_tensors(model)
    text = sum(tensor_bytes(t, model, precision) * t.copies * number for t, number in tensors)
    return text + model.vision_parameters * precision.dtype_bytes


def _layers_bytes(
    model: Architecture, precision: Precision, split: tuple[int, ExpertSplit | None], layers: range
) -> int:
    kinds = model.layer_kinds(layers)
    return sum(count * _layer_bytes(model, precision, split, layer) for layer, count in kinds)


def _layer_bytes(
    model: Architecture, precision: Precision, split: tuple[int, ExpertSplit | None], layer: int
) -> int:
    """Of one layer; layers of a kind take as much."""

    def work_out() -> int:
        tensors = layer_tensors(model, layer, *split)
        return sum(_padded(tensors, model, precision)) + _absorbed_bytes(model, precision, split[0])

    return model.known(("layer", precision, split, model.kind(layer)), work_out)


def lora_bytes(model: Architecture, layers: range, tp: int, slots: int, rank: int) -> int:
    """Bytes of the places of LoRA adapters on one GPU, in 16 bits.

    Every linear layer has two matrices for each slot, of the largest rank; joined ones (queries,
    keys and values; gate and up) one of inputs for each part (vllm/lora/layers,
    ``create_lora_weights``).
    """
    per_rank = sum(
        count * tensor.copies * (LORA_PARTS.get(tensor.module, 1) * tensor.columns + tensor.rows)
        for layer, count in model.layer_kinds(layers)
        for tensor in layer_tensors(model, layer, tp)
        if tensor.is_linear
    )
    return 2 * slots * rank * per_rank


def _padded(
    tensors: Iterator[WeightTensor] | tuple[WeightTensor, ...],
    model: Architecture,
    precision: Precision,
) -> Iterator[int]:
    for tensor in tensors:
        yield allocated_bytes(tensor_bytes(tensor, model, precision) * tensor.copies)


def allocated_bytes(size: int) -> int:
    """What PyTorch's caching allocator takes for a tensor.

    From 10 MiB on it asks CUDA for multiples of 2 MiB and does not split off a rest of up to 1 MiB
    (c10/cuda/CUDACachingAllocator: kMinLargeAlloc, kRoundLarge, kSmallSize).
    """
    if size < 10 * MIB:
        return share(size, 512) * 512
    rounded = share(size, 2 * MIB) * 2 * MIB
    return rounded if rounded - size <= MIB else size


def _absorbed_bytes(model: Architecture, precision: Precision, tp: int) -> int:
    """MLA: engines keep the latent's up-projections a second time, ready for absorption."""
    if model.mla is None:
        return 0
    heads = share(model.heads, tp)
    mla = model.mla
    return heads * mla.kv_lora_rank * (mla.nope_head_dim + mla.v_head_dim) * precision.dtype_bytes


def _position_table_bytes(model: Architecture, precision: Precision) -> int:
    """Cosines and sines of every position, on every GPU."""
    if model.family.learned_positions:
        return 0
    size = model.mla.rope_head_dim if model.mla else model.head_dim
    return model.max_position_embeddings * size * precision.dtype_bytes
