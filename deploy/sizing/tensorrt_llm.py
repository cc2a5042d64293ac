"""TensorRT-LLM's memory.

With the weights loaded it runs one step of ``--max_num_tokens``, and takes for the KV cache
``free_gpu_memory_fraction`` of what nothing has on the card then: a share of what is free, not of
the card. ``max_tokens`` is a bound on that (``configure_kv_cache_capacity`` in
``tensorrt_llm/_torch/pyexecutor/_util.py``). It is told both, so that the cache is the one that was
planned, or a smaller one where a step takes more than planned; a tenth of the card is left to
CUDA graphs, which it captures afterwards, and to what its allocator cannot put together again.
What others have on the card counts as taken, so that it cannot share one.
"""

from __future__ import annotations

import math

from deploy.sizing.overhead import Batch
from deploy.sizing.release import Release

VERSION = "1.2.1"
"""The release that is deployed; what the rules were read from is said in docs/sizing.md."""
RELEASE = Release(
    (0, 0),
    38,
    graphs_counted=True,
    permutes_experts=True,
    non_torch_gib=1.5,
    tensor_parallel_gib=1.5,
    hopper_tensor_parallel_gib=2.5,
    noise_gib=1.0,
    noise_share=1.25,
    is_trusted=False,
)
"""A step as of vLLM with PyTorch's sampler, which needs more than others; as many graphs, although
it captures fewer. CUDA, cuBLAS, NCCL and buffers of all-reduce are guessed, on the large side. No
start-up was compared: "yes" is never said."""
MAX_NUM_BATCHED_TOKENS = 8192
"""``--max_num_tokens``, its own default."""
MAX_NUM_SEQS = 128
"""``--max_batch_size``; its own default, 2048, is for its largest cards."""
BLOCK_TOKENS = 32
"""``tokens_per_block`` of its KV cache."""


def default_batch() -> Batch:
    """What a step may hold unless declared."""
    return Batch(MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS)


def max_tokens(planned: int) -> int:
    """``max_tokens`` for so many tokens of KV cache: whole blocks, and one to write ahead."""
    return (math.ceil(planned / BLOCK_TOKENS) + 1) * BLOCK_TOKENS


def free_gpu_memory_fraction(usable_gib: float, taken_gib: float, kv_cache_gib: float) -> float:
    """``free_gpu_memory_fraction``: the KV cache as a share of what is free after a step.

    Args:
        usable_gib: of the card.
        taken_gib: weights, and all else that is there after a step.
        kv_cache_gib: what is planned for.
    """
    free = usable_gib - taken_gib
    return min(math.ceil(kv_cache_gib / free * 100) / 100, 1.0) if free > 0 else 0.0
