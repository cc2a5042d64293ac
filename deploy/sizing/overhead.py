"""Memory beside weights and KV cache: what vLLM's profile run finds, and CUDA graphs.

vLLM runs the model once on max_num_batched_tokens dummy tokens, then the sampler on max_num_seqs
rows, and takes the higher peak (GPUModelRunner.profile_run). Both are modelled tensor by tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy.catalog.architecture import Architecture
from deploy.catalog.weight_tensors import share
from deploy.sizing.device import Device
from deploy.sizing.precision import Precision
from deploy.sizing.release import Release
from deploy.units import GIB

MIB = 2**20
HIDDEN_COPIES = 4
"""Residual, input, its norm and the MLP's result live while an MLP computes."""
SAMPLED_HIDDEN_COPIES = 1.25
"""Hidden states of the batch, and of the rows that are sampled (twice an eighth)."""
GRAPH_BYTES_PER_LAYER = 250_000
"""Measured, +- 40 %: one captured graph, per layer."""
GRAPHS_UNCERTAINTY = 0.4
DEEP_GEMM_ROWS = 128
LATENT_PREFILL_TOKENS = 64 * 1024
GRAPHED_TOKENS = 512
"""Largest batch with a CUDA graph of its own."""
CHUNKED_FROM = 32768
"""V0 computed longer contexts in chunks of 2048 tokens."""


@dataclass(frozen=True)
class StageContext:
    """One GPU of one pipeline stage."""

    model: Architecture
    precision: Precision
    device: Device
    release: Release
    tensor_parallel_size: int
    layers: int
    """Layers of the stage."""
    is_last: bool
    """Whether it samples."""
    has_graphs: bool = True
    """Whether CUDA graphs are captured."""


@dataclass(frozen=True)
class Batch:
    """What one engine step may hold."""

    max_num_batched_tokens: int
    """Tokens of a step."""
    max_num_seqs: int
    """Requests of a step."""


@dataclass(frozen=True)
class Overhead:
    """Memory of one GPU that neither weights nor KV cache have, in GiB."""

    activation_gib: float
    """Peak of the profile run."""
    cuda_graphs_gib: float
    """Captured graphs, where this release takes them off the KV cache."""
    non_torch_gib: float
    """CUDA context, kernels, communication buffers."""

    buffers_gib: float = 0.0
    """What the model runner keeps for every request."""
    outside_gib: float = 0.0
    """What comes on top of ``gpu_memory_utilization``: graphs and buffers not taken off."""
    uncertainty_gib: float = 0.0
    """How much more it can be on the pessimistic side."""

    @property
    def total_gib(self) -> float:
        """All that is taken off the KV cache."""
        counted = self.activation_gib + self.cuda_graphs_gib
        return counted + self.non_torch_gib + self.buffers_gib


def default_batch(device: Device, release: Release, max_model_len: int) -> Batch:
    """VLLM's own defaults when serving (EngineArgs.get_batch_defaults)."""
    if release.context_sized_batch:
        return Batch(max(2048, max_model_len) if max_model_len <= CHUNKED_FROM else 2048, 256)
    return Batch(8192, 1024) if device.takes_large_batches else Batch(2048, 256)


def stage_overhead(context: StageContext, batch: Batch) -> Overhead:
    """Overhead of one GPU of one pipeline stage."""
    device, release, tp = context.device, context.release, context.tensor_parallel_size
    forward = _forward_bytes(context, batch)
    sampling = _sampling_bytes(context, batch) if context.is_last else 0
    workspace = 32 * MIB if device.is_hopper_or_later else 8 * MIB
    buffers = _buffers_gib(context, batch)
    captured = captured_graphs(batch) if context.has_graphs else 0
    graphs = captured * context.layers * GRAPH_BYTES_PER_LAYER / GIB
    counted = release.graphs_counted
    overhead = Overhead(
        activation_gib=(max(forward, sampling) + workspace) / GIB,
        cuda_graphs_gib=graphs if counted else 0.0,
        non_torch_gib=_non_torch_gib(device, release, tp),
        buffers_gib=buffers if release.counts_buffers else 0.0,
        outside_gib=(0.0 if counted else graphs) + (0.0 if release.counts_buffers else buffers),
    )
    return replace(overhead, uncertainty_gib=_uncertainty_gib(context, batch, overhead))


def captured_graphs(batch: Batch) -> int:
    """Graphs that vLLM captures: piecewise up to twice max_num_seqs, full ones for decoding."""
    piecewise = min(2 * batch.max_num_seqs, GRAPHED_TOKENS)
    return _sizes_up_to(piecewise) + _sizes_up_to(min(batch.max_num_seqs, GRAPHED_TOKENS))


def _sizes_up_to(largest: int) -> int:
    """Batch sizes with a graph: 1, 2, 4, then every 8 up to 256 and every 16 after."""
    sizes = [1, 2, 4, *range(8, 257, 8), *range(272, GRAPHED_TOKENS + 1, 16)]
    return sum(size <= largest for size in sizes)


def _buffers_gib(context: StageContext, batch: Batch) -> float:
    """What the second model runner keeps to apply penalties."""
    per_logit = context.release.v2.penalty_bytes_per_logit if context.is_last else 0.0
    return batch.max_num_seqs * context.model.vocab * per_logit / GIB


def _forward_bytes(context: StageContext, batch: Batch) -> float:
    """One layer at work on a whole batch, in 16 bits."""
    model, tp = context.model, context.tensor_parallel_size
    hidden = (HIDDEN_COPIES + (1 if tp > 1 else 0)) * model.hidden
    head_dim = max((layer.head_dim for layer in model.layers), default=0) or model.head_dim
    attention = 2 * (share(model.heads, tp) + share(model.kv_heads, tp)) * head_dim
    inner = max(_mlp_elements(model, tp), attention)
    tokens = batch.max_num_batched_tokens
    forward = 2.0 * tokens * (hidden + inner) + _padded_experts_bytes(context, tokens)
    return max(forward, _latent_prefill_bytes(model, tp) + 2.0 * tokens * hidden)


def _mlp_elements(model: Architecture, tp: int) -> int:
    """Elements per token inside an MLP: gate and up, and their product; of each expert met."""
    factor = 3 if model.family.gated_mlp else 2
    dense = factor * share(model.intermediate, tp)
    if model.moe is None:
        return dense
    return _expert_elements(model, tp) + factor * share(model.moe.shared_intermediate, tp)


def _padded_experts_bytes(context: StageContext, tokens: int) -> float:
    """What DeepGEMM's two workspaces take more: each expert's rows padded to 128.

    deep_gemm_moe.py, ``workspace_shapes``; it computes experts in block-wise FP8 on data-centre
    GPUs from Hopper on.
    """
    model, moe = context.model, context.model.moe
    blocks = context.precision.quantization.block_rows
    if moe is None or not blocks or not context.device.is_hopper_or_later:
        return 0.0
    inner = share(moe.intermediate, context.tensor_parallel_size)
    rows = tokens * moe.experts_per_token + moe.experts * (DEEP_GEMM_ROWS - 1)
    widths = max(2 * inner, model.hidden) + max(inner, model.hidden)
    plain = tokens * _expert_elements(model, context.tensor_parallel_size)
    return 2.0 * max(rows * widths - plain, 0)


def _latent_prefill_bytes(model: Architecture, tp: int) -> float:
    """MLA: keys and values of the context, as the profile run makes them (mla/common.py)."""
    if model.mla is None:
        return 0.0
    width = model.mla.nope_head_dim + model.mla.v_head_dim
    return 2.0 * LATENT_PREFILL_TOKENS * share(model.heads, tp) * width


def _expert_elements(model: Architecture, tp: int) -> int:
    """Elements per token in the workspaces of fused experts."""
    if model.moe is None:
        return 0
    factor = 3 if model.family.gated_mlp else 2
    width = model.moe.width(model.hidden)
    per_expert = factor * share(model.moe.intermediate, tp) + width
    return model.moe.experts_per_token * per_expert


def _sampling_bytes(context: StageContext, batch: Batch) -> float:
    model, release = context.model, context.release
    rows = min(batch.max_num_seqs, batch.max_num_batched_tokens)
    logits = rows * model.vocab * release.sampler_bytes_per_logit
    scratch = model.vocab * release.sampler_bytes_per_vocab
    hidden = SAMPLED_HIDDEN_COPIES * 2 * batch.max_num_batched_tokens * model.hidden
    experts = 0
    if release.keeps_moe_workspace and context.precision.quantization.method != "mxfp4":
        per_token = _expert_elements(model, context.tensor_parallel_size)
        experts = 2 * batch.max_num_batched_tokens * per_token
    return logits + scratch + hidden + experts


def _uncertainty_gib(context: StageContext, batch: Batch, overhead: Overhead) -> float:
    """What start-ups with the same settings were seen to take more, and what may be otherwise.

    The noise of a release or a third of the overhead, whichever is more; graphs' 40 %; a sampler
    that needs more where FlashInfer is not installed.
    """
    release = context.release
    noise = max(release.noise_gib, release.noise_share * overhead.total_gib)
    graphs = GRAPHS_UNCERTAINTY * overhead.cuda_graphs_gib
    if not context.is_last:
        return noise + graphs
    worst = replace(release, sampler_bytes_per_logit=release.sampler_bytes_per_logit_at_worst)
    more = _sampling_bytes(replace(context, release=worst), batch) / GIB - overhead.activation_gib
    return noise + graphs + max(more, 0.0)


def _non_torch_gib(device: Device, release: Release, tp: int) -> float:
    total = release.non_torch_gib
    if device.is_hopper_or_later:
        total += release.hopper_extra_gib
    if tp == 1:
        return total
    if device.is_hopper_or_later and device.has_link:
        return total + release.hopper_tensor_parallel_gib
    return total + release.tensor_parallel_gib
