"""Weights per GPU: split by tensor parallelism, layers spread over pipeline stages."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
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
    model: Architecture, precision: Precision, tp: int, pp: int
) -> tuple[int, ...]:
    """Bytes that the weights take on each GPU of each stage."""
    stages = stage_layers(len(model.layers), pp)
    sizes = [_layers_bytes(model, precision, tp, layers) for layers in stages]
    ends = tuple(_padded(embedding_tensors(model, tp, VOCAB_PADDING), model, precision))
    sizes[0] += sum(ends) + model.vision_parameters * precision.dtype_bytes // tp
    if model.tied_embeddings and pp > 1:
        sizes[-1] += sum(ends)
    sizes[-1] += sum(_padded(head_tensors(model, tp, VOCAB_PADDING), model, precision))
    positions = _position_table_bytes(model, precision)
    return tuple(size + positions for size in sizes)


def file_bytes(model: Architecture, precision: Precision) -> int:
    """Size of the weights on disk."""
    tensors = all_tensors(model)
    text = sum(tensor_bytes(t, model, precision) * t.copies * number for t, number in tensors)
    return text + model.vision_parameters * precision.dtype_bytes


def _layers_bytes(model: Architecture, precision: Precision, tp: int, layers: range) -> int:
    per_layer = _absorbed_bytes(model, precision, tp)
    return sum(
        count * (sum(_padded(layer_tensors(model, layer, tp), model, precision)) + per_layer)
        for layer, count in model.layer_kinds(layers)
    )


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
