"""SGLang's memory apart from weights and KV cache, and what it is told of it.

SGLang runs no profile when it starts. ``--mem-fraction-static`` is the share of the memory that
is free before the model is loaded which weights and KV cache have together; what a step takes,
CUDA graphs and buffers lie outside of it (``_profile_available_bytes`` in
``sglang/srt/mem_cache/kv_cache_configurator.py`` of 0.5.21). How much is left for those is
upstream's own rule, ``handle_gpu_memory_settings`` in
``sglang/srt/arg_groups/memory_hook.py``: that is what is counted here. The prefix cache (radix
tree) lies in the KV cache: what no one uses is given up when room is needed, so that it takes
nothing away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploy.sizing.device import Device
from deploy.sizing.overhead import MIB, Batch, Overhead, StageContext, encoder_bytes
from deploy.sizing.release import Release
from deploy.units import GIB

VERSION = "0.5.21"
"""What the rules here were read from."""
RELEASE = Release((0, 5), 0, is_trusted=False)
"""The KV cache was compared with published start-ups (tests/sizing/test_sglang.py), what a step
takes with nothing: "yes" is never said."""
MAX_NUM_SEQS = 256
"""What SGLang is told unless declared; its own default is 2048 and more."""

CONTEXT_GIB = 0.6
"""Gone before SGLang measures what is free: the CUDA context, kernels, libraries."""
PEER_GIB = 0.6
"""The same for NCCL and the buffers of all-reduce, where a layer is shared."""
LINKED_GIB = 1.5
"""The same with NVLink from Hopper on."""
IMAGES_SHARE = 1 - 0.95 * (1 - 0.1 * (1152**2 / 1024**2 - 1))
"""What ``adjust_mem_fraction_for_vlm`` leaves free for the encoder of images, of all that weights
and KV cache would have. It takes Qwen's encoder for one of 24 layers, each of 1152."""
IMAGE_POOLS_GIB = (100 + 1024) / 1024
"""Images that are kept, and those that come from other processes: ``SGLANG_VLM_CACHE_SIZE_MB`` and
``SGLANG_MM_FEATURE_CACHE_MB`` (``mm_runtime_reservation_gb``)."""
UNSURE_GIB = 0.5
ACTIVATION_MIB_PER_TOKEN = 1.5
BASE_MIB = 512
LEAST_TOKENS = 2048
LARGE_GIB = 60
"""On larger cards at least ``LARGE_RESERVE_GIB`` stay outside."""
LARGE_RESERVE_GIB = 10
DECODE_GRAPH_MIB = 2
PREFILL_GRAPH_MIB = 8
LATENT_GRAPHS_MIB = 1.5 * 1024
"""Prefill graphs of models with MLA, all together."""
REQUEST_BYTES = 4
"""Of each token that a request may have: where it lies in the KV cache (``ReqToTokenPool``)."""
AITER_TOKENS = 256
"""AMD: tokens of a partition of AITER's attention, which has room for each of every request."""


@dataclass(frozen=True)
class Defaults:
    """What SGLang starts with on cards of a size."""

    below_gib: float
    chunked_prefill_size: int
    graphed: int
    """Largest batch with a CUDA graph for decoding, on fewer than 4 GPUs."""
    graphed_on_four: int
    """The same from 4 GPUs on."""


DEFAULTS = (
    Defaults(20, 2048, 8, 8),
    Defaults(35, 4096, 48, 160),
    Defaults(60, 4096, 32, 160),
    Defaults(90, 8192, 256, 512),
    Defaults(160, 8192, 256, 512),
    Defaults(math.inf, 16384, 512, 512),
)
"""``handle_gpu_memory_settings``, by the memory of a card."""


def defaults_of(device: Device) -> Defaults:
    """What SGLang starts with on a card."""
    return next(each for each in DEFAULTS if device.usable_gib < each.below_gib)


def default_batch(device: Device) -> Batch:
    """What a step may hold unless declared."""
    return Batch(defaults_of(device).chunked_prefill_size, MAX_NUM_SEQS)


def graphed_requests(device: Device, tp: int, requests: int) -> int:
    """The largest batch that is decoded with a CUDA graph: none is larger than a step may be."""
    own = defaults_of(device)
    return min(own.graphed_on_four if tp >= 4 else own.graphed, requests)


def stage_overhead(context: StageContext, batch: Batch, stages: int, longest: int) -> Overhead:
    """What one GPU of a pipeline stage has outside of weights and KV cache.

    Args:
        context: the GPU and its part of the model.
        batch: what a step may hold.
        stages: of the pipeline.
        longest: tokens of the longest request.
    """
    device, tp = context.device, context.tensor_parallel_size
    tokens = max(batch.max_num_batched_tokens, LEAST_TOKENS)
    activation = BASE_MIB + tokens * ACTIVATION_MIB_PER_TOKEN + tp * stages * 1024 / 8
    graphs = _graphs_mib(context, batch) if context.has_graphs else 0.0
    if device.usable_gib > LARGE_GIB:
        activation = max(activation, LARGE_RESERVE_GIB * 1024 - graphs)
    activation += _images_mib(context, batch, activation + graphs)
    non_torch = CONTEXT_GIB + (_peers_gib(device) if tp * stages > 1 else 0.0)
    return Overhead(
        activation_gib=activation * MIB / GIB,
        cuda_graphs_gib=graphs * MIB / GIB,
        non_torch_gib=non_torch,
        buffers_gib=_buffers_bytes(context, batch, longest) / GIB,
        uncertainty_gib=UNSURE_GIB * (2 if tp * stages > 1 else 1),
    )


def image_pools_gib(context: StageContext) -> float:
    """Caches of images, which are taken off what the share leaves for the KV cache."""
    return IMAGE_POOLS_GIB if _takes_images(context) else 0.0


def _takes_images(context: StageContext) -> bool:
    return context.model.vision is not None and context.encodes_images


def _images_mib(context: StageContext, batch: Batch, reserved_mib: float) -> float:
    """What the encoder of images takes at work: as much as upstream leaves free, or it needs."""
    if not _takes_images(context):
        return 0.0
    left = max(context.device.usable_gib * 1024 - reserved_mib, 0.0)
    needed = encoder_bytes(context, batch) / MIB if context.is_first else 0.0
    return max(left * IMAGES_SHARE, needed)


def mem_fraction_static(budget_gib: float, static_gib: float, overhead: Overhead) -> float:
    """``--mem-fraction-static``: the share of what is free at first for weights and KV cache.

    What is free is at least the replica's own part of the card. It is more where others do not run
    yet, or nothing else does: the KV cache grows no further than ``--max-total-tokens`` then.

    Args:
        budget_gib: the replica's own part of the card.
        static_gib: weights and KV cache.
        overhead: everything else.
    """
    free = budget_gib - overhead.non_torch_gib
    return min(math.ceil(static_gib / free * 1000) / 1000, 1.0) if free > 0 else 0.0


def _graphs_mib(context: StageContext, batch: Batch) -> float:
    """CUDA graphs of decoding and of prefill (``reserve_for_graph_mb``)."""
    graphed = graphed_requests(context.device, context.tensor_parallel_size, batch.max_num_seqs)
    decoding = graphed * DECODE_GRAPH_MIB
    if context.model.mla is not None:
        return decoding + LATENT_GRAPHS_MIB
    return decoding + prefill_graphs(batch.max_num_batched_tokens) * PREFILL_GRAPH_MIB


def prefill_graphs(largest: int) -> int:
    """How many sizes have a graph (``generate_prefill_cuda_graph_batch_sizes``)."""
    sizes = (
        *range(4, 33, 4),
        *range(48, 257, 16),
        *range(288, 513, 32),
        *range(576, 1025, 64),
        *range(1280, 4097, 256),
        *range(4608, largest + 1, 512),
    )
    return sum(size <= largest for size in sizes)


def _buffers_bytes(context: StageContext, batch: Batch, longest: int) -> float:
    """Where the tokens of each request lie; on AMD what AITER's attention works in."""
    model, requests = context.model, batch.max_num_seqs
    places = (requests + 1) * longest * REQUEST_BYTES
    if context.device.vendor != "amd" or model.mla is not None:
        return places
    parts = math.ceil(longest / AITER_TOKENS)
    heads = math.ceil(model.heads / context.tensor_parallel_size)
    return places + requests * heads * parts * (model.largest_head_dim * 4 + 8)


def _peers_gib(device: Device) -> float:
    return LINKED_GIB if device.is_hopper_or_later and device.has_link else PEER_GIB
