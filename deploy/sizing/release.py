"""What changed between vLLM's releases for memory.

Each figure is what the code of that time allocates; where a figure is a measurement, it says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.errors import PlanError, Problem

DEFAULT_VERSION = "0.26"


@dataclass(frozen=True)
class Release:
    """Memory behaviour of vLLM from one version on."""

    since: tuple[int, int]
    """First version, without the patch level."""
    sampler_bytes_per_logit: int
    """Peak of the sampler in the profile run, per row and entry of the vocabulary.

    38: bf16 and fp32 logits (6), a sort's values, indices and workspaces (32): PyTorch's sampler.
    14: both logits, the masked logits or probabilities, and random numbers or probabilities.
    10: as measured where FlashInfer sampled in 0.10 (A100 start-up logs of dennislee22).
    """
    sampler_bytes_per_logit_at_worst: int = 0
    """The same with the other sampler, where the release has one; 0 where it has not."""
    sampler_bytes_per_vocab: int = 0
    """Scratch of the Triton sampler: one fp32 row per multiprocessor (132 of an H100)."""
    context_sized_batch: bool = False
    """V0 profiled a whole context at once, up to 32768 tokens."""
    graphs_counted: bool = False
    """CUDA graphs are taken off the KV cache (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS)."""
    keeps_moe_workspace: bool = False
    """Workspaces of fused experts stay allocated while sampling."""
    non_torch_gib: float = 0.1
    """Measured: CUDA context growth, kernels, libraries."""
    hopper_extra_gib: float = 0.0
    """Measured: what Hopper adds to that (larger kernel images)."""
    tensor_parallel_gib: float = 0.15
    """Measured: NCCL and custom all-reduce buffers."""
    noise_gib: float = 0.7
    """Least by which published start-ups with the same settings differed."""
    noise_share: float = 1 / 3
    """The same over the whole overhead."""
    hopper_tensor_parallel_gib: float = 0.4
    """Measured: the same on NVLink from Hopper on, fused all-reduce workspaces included."""


RELEASES = (
    # V0 counted what PyTorch's allocator had reserved, up to twice what was used
    Release((0, 0), 38, context_sized_batch=True, noise_share=1.25),
    Release((0, 8), 38),
    # FlashInfer samples where it is installed (images have it, pip leaves it out); else PyTorch
    Release((0, 10), 10, sampler_bytes_per_logit_at_worst=38),
    Release((0, 12), 38),
    Release(
        (0, 16),
        14,
        sampler_bytes_per_vocab=132 * 4,
        keeps_moe_workspace=True,
        hopper_extra_gib=0.15,
        hopper_tensor_parallel_gib=1.85,
    ),
    Release(
        (0, 21),
        14,
        graphs_counted=True,
        keeps_moe_workspace=True,
        hopper_extra_gib=0.15,
        hopper_tensor_parallel_gib=1.85,
    ),
)


def find_release(version: str) -> Release:
    """The behaviour of a version such as ``0.26`` or ``v0.10.1.1``.

    Raises:
        PlanError: if that is not a version.
    """
    match = re.match(r"v?(\d+)\.(\d+)", version)
    if match is None:
        raise PlanError(
            Problem("engine_version", repr(version), "a version such as 0.26 or 0.10.1")
        )
    wanted = (int(match[1]), int(match[2]))
    return max((r for r in RELEASES if r.since <= wanted), key=lambda release: release.since)
