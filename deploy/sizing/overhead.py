"""Memory apart from weights and KV cache: what vLLM's profile run finds, and CUDA graphs.

vLLM runs the model once on max_num_batched_tokens dummy tokens, then the sampler on max_num_seqs
rows, and takes the higher peak (GPUModelRunner.profile_run). Both are modelled tensor by tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from deploy.catalog.architecture import Architecture
from deploy.catalog.experts import ExpertSplit
from deploy.catalog.weight_tensors import share
from deploy.sizing.device import Device
from deploy.sizing.expert_workspaces import masked_bytes, padded_bytes, permuted_bytes
from deploy.sizing.precision import Precision
from deploy.sizing.release import Release
from deploy.units import GIB

MIB = 2**20
HIDDEN_COPIES = 4
"""Residual, input, its norm and the MLP's result live while an MLP computes."""
SAMPLED_HIDDEN_COPIES = 1.25
"""Hidden states of the batch, and of the rows that are sampled (twice an eighth)."""
ROTATED_COPIES = 8
"""Queries, keys, values; queries and keys in a row, and rotated; and the attention's result."""
GRAPH_BYTES_PER_LAYER = 250_000
"""Measured, +- 40 %: one captured graph, per layer."""
GRAPHS_UNCERTAINTY = 0.4
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
    is_first: bool = True
    """Whether it embeds tokens and images."""
    encodes_images: bool = True
    """Whether images are served, so that their encoder is profiled."""
    query_tokens: int = 1
    """Tokens of a decoding request in one step: with speculative decoding those drafted too."""
    data_parallel_size: int = 1
    """Ranks whose tokens meet at the experts."""
    experts: ExpertSplit = field(default_factory=ExpertSplit)
    """How the GPUs share the experts out."""


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
    captured = captured_graphs(batch, context.query_tokens) if context.has_graphs else 0
    graphs = captured * context.layers * GRAPH_BYTES_PER_LAYER / GIB
    images = encoder_bytes(context, batch) if context.is_first else 0.0
    activation = (max(forward, sampling, images) + workspace) / GIB
    inside = graphs if release.graphs_counted else 0.0
    kept = buffers if release.counts_buffers else 0.0
    non_torch = _non_torch_gib(device, release, tp)
    return Overhead(
        activation_gib=activation,
        cuda_graphs_gib=inside,
        non_torch_gib=non_torch,
        buffers_gib=kept,
        outside_gib=graphs + buffers - inside - kept,
        uncertainty_gib=_uncertainty_gib(
            context, batch, activation, activation + inside + non_torch + kept
        )
        + GRAPHS_UNCERTAINTY * inside,
    )


def captured_graphs(batch: Batch, query_tokens: int = 1) -> int:
    """Graphs that vLLM captures: piecewise up to twice max_num_seqs, full ones for decoding.

    With speculative decoding each request has ``query_tokens`` (``_set_cudagraph_sizes`` in
    vllm/config/vllm.py).
    """
    decoding = batch.max_num_seqs * query_tokens
    piecewise = min(2 * decoding, GRAPHED_TOKENS)
    return _sizes_up_to(piecewise) + _sizes_up_to(min(decoding, GRAPHED_TOKENS))


@cache
def _sizes_up_to(largest: int) -> int:
    """Batch sizes with a graph: 1, 2, 4, then every 8 up to 256 and every 16 after."""
    sizes = [1, 2, 4, *range(8, 257, 8), *range(272, GRAPHED_TOKENS + 1, 16)]
    return sum(size <= largest for size in sizes)


def _buffers_gib(context: StageContext, batch: Batch) -> float:
    """What the second model runner keeps to apply penalties."""
    per_logit = context.release.v2.penalty_bytes_per_logit if context.is_last else 0.0
    return batch.max_num_seqs * context.model.vocab * per_logit / GIB


def _forward_bytes(context: StageContext, batch: Batch) -> float:
    """One layer at work on a whole batch, in 16 bits.

    A draft runs while the model's own hidden states are kept.
    """
    model, tp = context.model, context.tensor_parallel_size
    kept = (1 if tp > 1 else 0) + (1 if context.query_tokens > 1 else 0)
    hidden = (HIDDEN_COPIES + kept) * model.hidden
    heads = share(model.heads, tp) + share(model.kv_heads, tp)
    attention = 2 * heads * model.largest_head_dim
    ranks = context.data_parallel_size
    experts = _expert_elements(model, tp * ranks) * (ranks - 1) if ranks > 1 else 0
    inner = max(_mlp_elements(model, tp) + experts, attention)
    tokens = batch.max_num_batched_tokens
    forward = 2.0 * tokens * (hidden + inner) + _more_of_experts_bytes(context, tokens)
    return max(forward, _latent_prefill_bytes(model, tp) + 2.0 * tokens * hidden)


def encoder_bytes(context: StageContext, batch: Batch) -> float:
    """The vision tower at work on the largest images, before the model runs (profile_run).

    Live at once: the pixels, the positions, the hidden state before and after a norm, and either
    queries and keys before and after their rotation with values and result, or an MLP's inner
    states (Qwen3_VisionBlock, Qwen2_5_VisionAttention; qwen3_vl.py). Pixtral's attention takes a
    mask over all patches instead (pixtral.py, generate_block_attention_mask).
    """
    vision, tp = context.model.vision, context.tensor_parallel_size
    if vision is None or not context.encodes_images or context.release.context_sized_batch:
        return 0.0
    if vision.free_share:
        return vision.free_share * context.device.usable_gib * GIB
    if not vision.is_known:
        return 0.0
    images = max(batch.max_num_batched_tokens // vision.tokens, 1)
    patches = images * vision.patches
    state, inner = 2.0 * patches * vision.hidden, 2.0 * patches * vision.intermediate
    attention = ROTATED_COPIES * state / tp
    mask = 2.0 * patches**2 if vision.masks_attention else 0.0
    return 2.0 * patches * vision.pixels + 4 * state + max(attention, 2 * inner / tp) + mask


def _mlp_elements(model: Architecture, tp: int) -> int:
    """Elements per token inside an MLP: gate and up, and their product; of each expert met."""
    factor = 3 if model.family.gated_mlp else 2
    dense = factor * share(model.intermediate, tp)
    if model.moe is None:
        return dense
    return _expert_elements(model, tp) + factor * share(model.moe.shared_intermediate, tp)


def _more_of_experts_bytes(context: StageContext, tokens: int) -> float:
    """What kernels for experts work in beyond ``_expert_elements``."""
    model, moe, device = context.model, context.model.moe, context.device
    blocks, tp = context.precision.quantization.block_rows, context.tensor_parallel_size
    if moe is None:
        return 0.0
    needed = 0.0
    if context.release.permutes_experts:
        split = context.experts
        needed = permuted_bytes(model, moe, split.slices, tokens)
        if blocks and device.is_data_centre_blackwell:
            here = share(moe.experts, split.groups)
            needed = masked_bytes(model, moe, split.slices, here, tokens)
    elif blocks and device.is_hopper_or_later:
        # block-wise FP8 on data-centre GPUs from Hopper on
        needed = padded_bytes(model, moe, tp, tokens)
    return max(needed - 2.0 * tokens * _expert_elements(model, tp), 0.0)


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
    rows *= 2 if context.query_tokens > 1 else 1  # the rejection sampler: one draft a request
    logits = rows * model.vocab * release.sampler_bytes_per_logit
    scratch = model.vocab * release.sampler_bytes_per_vocab
    hidden = SAMPLED_HIDDEN_COPIES * 2 * batch.max_num_batched_tokens * model.hidden
    experts = 0
    if release.keeps_moe_workspace and context.precision.quantization.method != "mxfp4":
        per_token = _expert_elements(model, context.tensor_parallel_size)
        experts = 2 * batch.max_num_batched_tokens * per_token
    return logits + scratch + hidden + experts


def _uncertainty_gib(
    context: StageContext, batch: Batch, activation_gib: float, total_gib: float
) -> float:
    """What start-ups with the same settings were seen to take more, and what may be otherwise.

    The noise of a release or a third of the overhead, whichever is more; a sampler that needs more
    where FlashInfer is not installed.
    """
    release = context.release
    noise = max(release.noise_gib, release.noise_share * total_gib)
    if not context.is_last or not release.sampler_bytes_per_logit_at_worst:
        return noise
    worst = replace(release, sampler_bytes_per_logit=release.sampler_bytes_per_logit_at_worst)
    more = _sampling_bytes(replace(context, release=worst), batch) / GIB - activation_gib
    return noise + max(more, 0.0)


def _non_torch_gib(device: Device, release: Release, tp: int) -> float:
    total = release.non_torch_gib
    if device.is_hopper_or_later:
        total += release.hopper_extra_gib
    if tp == 1:
        return total
    if device.is_hopper_or_later and device.has_link:
        return total + release.hopper_tensor_parallel_gib
    return total + release.tensor_parallel_gib + release.peer_gib * (tp - 1)
