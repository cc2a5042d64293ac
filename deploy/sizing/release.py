"""What changed between vLLM's releases for memory.

Each figure is what the code of that time allocates; where a figure is a measurement, it says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from deploy.catalog.architecture import Architecture
from deploy.errors import PlanError, Problem

DEFAULT_VERSION = "0.26"


V2_MOE = frozenset({"deepseek_v2", "qwen2_moe", "granitemoe"})


@dataclass(frozen=True)
class V2Runner:
    """The second model runner (vllm/v1/worker/gpu), and how it differs for memory."""

    model_types: frozenset[str] = frozenset()
    """Models that run on it (VllmConfig.use_v2_model_runner)."""
    dense: bool = False
    """Whether every model without experts and state does."""
    graphs_counted: bool = False
    """Before 0.29 its ``profile_cudagraph_memory`` answers 0: graphs come on top."""
    sampler_bytes_per_logit: int = 6
    """bf16 logits and their fp32 copy (gpu/sample/sampler.py)."""
    non_torch_gib: float = 0.85
    """Measured: first starts on one GPU took 0.75 to 1.8 apart from torch, a second start 0.1."""
    noise_gib: float = 1.0
    """Measured: what first starts differ by."""
    penalty_bytes_per_logit: float = 4 + 1 / 8
    """Counts of output tokens and a mask of the prompt's, of every request (PenaltiesState)."""

    def runs(self, model: Architecture) -> bool:
        """Whether a model runs on it."""
        is_dense = model.moe is None and not model.has_state
        return model.model_type in self.model_types or (self.dense and is_dense)


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
    permutes_experts: bool = False
    """Experts' inputs are copied, a row for each expert of a token: TensorRT-LLM's kernels."""
    keeps_moe_workspace: bool = False
    """Workspaces of fused experts stay allocated while sampling."""
    non_torch_gib: float = 0.1
    """Measured: CUDA context growth, kernels, libraries."""
    hopper_extra_gib: float = 0.0
    """Measured: what Hopper adds to that (larger kernel images)."""
    can_pin: bool = False
    """It takes ``--kv-cache-memory-bytes``."""
    uneven: float = 1.25
    """Up to this ratio the larger number of layers sets the size of a group."""
    batches_in_flight: int = 1
    """Batches whose tokens a window keeps too (``max_in_flight_tokens``)."""
    tokens_by_request: bool = False
    """The log's tokens: what longest requests hold together, not every group in full."""
    counts_buffers: bool = False
    """What the runner keeps is taken off the KV cache too (``total_consumed``)."""
    is_trusted: bool = True
    """Whether start-ups with room to spare started; where not, "yes" is never said."""
    v2: V2Runner = V2Runner()
    """Which models run on the second model runner."""
    tensor_parallel_gib: float = 0.15
    """Measured: NCCL and custom all-reduce buffers."""
    peer_gib: float = 0.0
    """Measured: the same for each GPU more that a layer is shared with."""
    noise_gib: float = 0.7
    """Least by which published start-ups with the same settings differed."""
    noise_share: float = 1 / 3
    """The same over the whole overhead."""
    hopper_tensor_parallel_gib: float = 0.4
    """Measured: the same on NVLink from Hopper on, fused all-reduce workspaces included."""


V2_FIRST = frozenset({"qwen3", "llama", "mistral"})
TOTAL_CONSUMED: dict[str, Any] = {
    "tokens_by_request": True,
    "counts_buffers": True,
    "batches_in_flight": 2,
    "tensor_parallel_gib": 0.0,
    "peer_gib": 0.32,
}
"""0.27 takes off all that is gone from the card since NCCL started. Measured over PCIe next to
torch: 1.1 GiB with 4 RTX PRO 6000, 0.44 with 2 RTX 5090, 0.66 with 2 RTX 3090: NCCL keeps buffers
for each peer."""


def _later(since: tuple[int, int], **more: Any) -> Release:
    """From 0.16 on; from 0.20 on CUDA graphs are taken off the KV cache (vllm/envs.py)."""
    known: dict[str, Any] = {
        "can_pin": True,
        "graphs_counted": True,
        "uneven": 1.5,
        "keeps_moe_workspace": True,
        "hopper_extra_gib": 0.15,
        "hopper_tensor_parallel_gib": 1.85,
    }
    return Release(since, 14, **{**known, **more})


RELEASES = (
    # before 0.5, and where V1 was new, start-ups ended out of memory that had room to spare: their
    # profiles missed memory, or graphs and the sampler's warm-up came on top of the pool
    # (vLLM #2248, #2136, #4429; #17462, #17469, #18124, #18446)
    # V0 counted what PyTorch's allocator had reserved, up to twice what was used
    Release((0, 0), 38, context_sized_batch=True, noise_share=1.25, is_trusted=False),
    Release((0, 5), 38, context_sized_batch=True, noise_share=1.25),
    Release((0, 8), 38, is_trusted=False),
    # FlashInfer samples where it is installed (images have it, pip leaves it out); else PyTorch
    Release((0, 10), 10, sampler_bytes_per_logit_at_worst=38),
    Release((0, 12), 38, can_pin=True),
    _later((0, 16), graphs_counted=False, uneven=1.25, sampler_bytes_per_vocab=132 * 4),
    _later((0, 19), graphs_counted=False, sampler_bytes_per_vocab=132 * 4),
    _later((0, 20)),
    _later((0, 21), tokens_by_request=True),
    _later((0, 22), tokens_by_request=True, v2=V2Runner(frozenset({"qwen3"}))),
    _later((0, 23), tokens_by_request=True, v2=V2Runner(V2_FIRST)),
    _later((0, 24), tokens_by_request=True, v2=V2Runner(V2_FIRST | V2_MOE)),
    _later((0, 25), tokens_by_request=True, v2=V2Runner(V2_MOE, dense=True)),
    _later((0, 26), tokens_by_request=True, batches_in_flight=2, v2=V2Runner(V2_MOE, dense=True)),
    _later((0, 27), **TOTAL_CONSUMED, v2=V2Runner(V2_MOE, dense=True)),
    _later((0, 29), **TOTAL_CONSUMED, v2=V2Runner(V2_MOE, dense=True, graphs_counted=True)),
)


def release_for(model: Architecture, version: str) -> Release:
    """How a version runs a model.

    Raises:
        PlanError: if that is not a version.
    """
    release = find_release(version)
    if not release.v2.runs(model):
        return replace(release, v2=V2Runner(penalty_bytes_per_logit=0.0))
    v2 = release.v2
    return replace(
        release,
        sampler_bytes_per_logit=v2.sampler_bytes_per_logit,
        graphs_counted=v2.graphs_counted,
        non_torch_gib=v2.non_torch_gib,
        tensor_parallel_gib=RELEASES[0].tensor_parallel_gib,
        peer_gib=0.0,
        noise_gib=v2.noise_gib,
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
