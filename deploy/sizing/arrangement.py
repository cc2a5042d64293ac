"""One arrangement: a model split over ``tp`` x ``pp`` GPUs."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.sizing import sglang, tensorrt_llm, tgi
from deploy.sizing.device import Device
from deploy.sizing.fit import Fit
from deploy.sizing.kv_cache import KvLayout, KvSettings, kinds_of, kv_layout
from deploy.sizing.overhead import (
    MIB,
    Batch,
    Overhead,
    StageContext,
    default_batch,
    stage_overhead,
)
from deploy.sizing.precision import Precision
from deploy.sizing.release import Release
from deploy.sizing.request import SizingRequest
from deploy.sizing.speculation import draft_weights_bytes, kv_settings, mtp_file_bytes
from deploy.sizing.throughput import Engine
from deploy.sizing.weights import file_bytes, lora_bytes, stage_layers, stage_weights_bytes
from deploy.spec.engine_kinds import ENGINES
from deploy.units import GIB

MINIMUM_CONTEXT_TOKENS = 2048
"""Less context than this is of no use for code; asked for explicitly, it is accepted."""
DEFAULT_CONTEXT_TOKENS = 8192
PINNED_STEP_BYTES = 64 * MIB
UNKNOWN_WEIGHTS = 0.06
"""Qwen3.8-27B in NVFP4 is 10.2 GiB on each of two GPUs as NVIDIA made it, 9.7 with every layer."""
USUAL_UTILIZATION = 0.9
"""The share of the memory that engines take together where nothing else is said."""


@dataclass(frozen=True)
class Setup:
    """What all arrangements of a request share."""

    request: SizingRequest
    model: Architecture
    precision: Precision
    device: Device
    release: Release
    kv_dtype: str

    @property
    def is_sglang(self) -> bool:
        """Whether SGLang serves it, and not vLLM."""
        return self.request.engine == "sglang"

    @property
    def budget_gib(self) -> float:
        """Memory that the engine may use on each GPU."""
        return self.device.usable_gib * self.request.gpu_memory_utilization

    @property
    def headroom_gib(self) -> float:
        """Memory that no engine takes, at most a tenth: engines that share a GPU share it too."""
        taken = max(self.request.gpu_memory_utilization, USUAL_UTILIZATION)
        return self.device.usable_gib * (1 - taken)

    @property
    def query_tokens(self) -> int:
        """Tokens of a decoding request in one step, those drafted included."""
        return 1 + (self.request.speculation.tokens if self.request.speculation else 0)

    @property
    def expert_ranks(self) -> int:
        """Ranks with attention of their own that share the experts; 1 of models without."""
        return self.request.data_parallel_size if self.model.moe else 1

    def _default_batch(self, wanted: int) -> Batch:
        match self.request.engine:
            case "sglang":
                return sglang.default_batch(self.device)
            case "tensorrt_llm":
                return tensorrt_llm.default_batch()
            case "tgi":
                return tgi.default_batch()
        return default_batch(self.device, self.release, wanted)

    @cached_property
    def batch(self) -> Batch:
        """What one step may hold."""
        wanted = self.request.max_model_len or self.model.max_position_embeddings
        default = self._default_batch(wanted)
        # an encoder reads a text in one step
        least = 0 if self.model.keeps_tokens else wanted
        return Batch(
            self.request.max_num_batched_tokens or max(default.max_num_batched_tokens, least),
            self.request.max_num_seqs or default.max_num_seqs,
        )


@dataclass(frozen=True)
class Stage:
    """One GPU of one pipeline stage."""

    weights_gib: float
    overhead: Overhead
    layout: KvLayout
    kv_cache_gib: float
    """What is left; negative where nothing is."""
    least_kv_cache_gib: float
    """The same on the pessimistic side."""

    headroom_gib: float
    """What no engine's share of the memory takes."""

    @property
    def pinned_kv_cache_bytes(self) -> int:
        """A pool that can be pinned: the estimate's error must fit into what is left over.

        In whole steps where that does not make it smaller than the pessimistic side, so that it
        seldom changes from one version of Atelier to the next.
        """
        gib = min(self.kv_cache_gib, self.least_kv_cache_gib + self.headroom_gib)
        size = max(int(gib * GIB), 0)
        if not self.layout.groups:
            return 0
        whole = size // PINNED_STEP_BYTES * PINNED_STEP_BYTES
        return whole if whole >= self.least_kv_cache_gib * GIB > 0 else size

    @property
    def kept_gib(self) -> tuple[float, float]:
        """Its KV cache, and that of the pessimistic side; an encoder has none."""
        if not self.layout.groups:
            return 0.0, 0.0
        return max(self.kv_cache_gib, 0.0), max(self.least_kv_cache_gib, 0.0)

    @cached_property
    def blocks(self) -> int:
        """Blocks of its KV cache."""
        return self.layout.blocks(self.kv_cache_gib * GIB)

    @cached_property
    def least_blocks(self) -> int:
        """The same on the pessimistic side."""
        return self.layout.blocks(self.least_kv_cache_gib * GIB)

    @property
    def tokens(self) -> int:
        """Tokens of its KV cache."""
        return self.layout.tokens(self.blocks)


@dataclass(frozen=True)
class Arrangement:
    """A model on ``tp`` x ``pp`` GPUs."""

    setup: Setup
    tensor_parallel_size: int
    pipeline_parallel_size: int
    stages: tuple[Stage, ...]
    engine: Engine

    @cached_property
    def unlike(self) -> tuple[Stage, ...]:
        """Its stages, without those that are the same as another."""
        return tuple({id(stage): stage for stage in self.stages}.values())

    @cached_property
    def tightest(self) -> Stage:
        """The stage that decides."""
        return min(self.unlike, key=lambda stage: (stage.tokens, stage.kv_cache_gib))

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        split = self.tensor_parallel_size * self.pipeline_parallel_size
        return split * self.setup.expert_ranks

    @property
    def replicas(self) -> int:
        """Engines of this kind that the GPUs hold."""
        return len(self.setup.request.devices) // self.gpus

    @cached_property
    def batch(self) -> Batch:
        """What one step may hold: by default no more requests than states have blocks for sure."""
        own, needs = self.setup.batch, self.needs_state_blocks
        if not needs or self.setup.request.max_num_seqs is not None:
            return own
        most = min(max(stage.least_blocks, stage.blocks // 2) for stage in self.unlike)
        return Batch(own.max_num_batched_tokens, max(min(own.max_num_seqs, most), 1))

    @property
    def needs_state_blocks(self) -> bool:
        """Whether each request that a step may hold needs a block when vLLM starts.

        With full CUDA graphs it refuses to start otherwise (``CompilationConfig``:
        "max_num_seqs exceeds available Mamba cache blocks").
        """
        return self.setup.model.has_state and not self.setup.request.enforce_eager

    @property
    def state_blocks(self) -> int:
        """Blocks that there are for states."""
        return min(stage.blocks for stage in self.unlike)

    @property
    def lacks_state_blocks(self) -> bool:
        """Whether more requests were asked for than there are blocks."""
        return self.needs_state_blocks and self.batch.max_num_seqs > max(self.state_blocks, 1)

    @cached_property
    def longest_context(self) -> int:
        """Tokens of the longest request that fits, within what the model was made for."""
        limit = self.setup.model.max_position_embeddings
        return min(stage.layout.longest_request(stage.blocks, limit) for stage in self.unlike)

    @cached_property
    def safe_context(self) -> int:
        """The same on the pessimistic side."""
        limit = self.setup.model.max_position_embeddings
        return min(s.layout.longest_request(s.least_blocks, limit) for s in self.unlike)

    @property
    def kv_cache_tokens(self) -> int:
        """Tokens of the KV cache, as this release's log counts them."""
        longest = self.setup.request.max_model_len or self.longest_context
        if not (self.setup.release.tokens_by_request and longest and self.tightest.blocks):
            return self.tightest.tokens
        return min(s.blocks * longest // s.layout.request_blocks(longest) for s in self.unlike)

    @property
    def wanted_context(self) -> int:
        """Tokens of context that must fit for the engine to start usefully."""
        request = self.setup.request
        least = min(MINIMUM_CONTEXT_TOKENS, self.setup.model.max_position_embeddings)
        return request.max_model_len or max(request.context_tokens or 0, least)

    @property
    def max_model_len(self) -> int:
        """What was asked, or the longest context that fits: for sure, if that is enough."""
        is_enough = self.safe_context >= self.wanted_context
        longest = self.safe_context if is_enough else self.longest_context
        return self.setup.request.max_model_len or longest

    @cached_property
    def context_tokens(self) -> int:
        """Context that users are counted at."""
        if ENGINES[self.setup.request.engine].reserves:
            return self.max_model_len
        default = min(DEFAULT_CONTEXT_TOKENS, self.max_model_len)
        return self.setup.request.context_tokens or default

    @cached_property
    def fits(self) -> Fit:
        """Whether the engine starts, with the context wanted."""
        if self.longest_context < self.wanted_context or self.lacks_state_blocks:
            return Fit.NO
        if not self.setup.model.keeps_tokens and self.tightest.kv_cache_gib < 0:
            return Fit.NO
        is_safe = self.safe_context >= self.wanted_context and self._graphs_have_room
        is_safe &= self.setup.release.is_trusted and self.tightest.least_kv_cache_gib >= 0
        if self.needs_state_blocks:
            least = min(stage.least_blocks for stage in self.unlike)
            is_safe &= self.batch.max_num_seqs <= least
        return Fit.YES if is_safe else Fit.PROBABLY

    @property
    def _graphs_have_room(self) -> bool:
        """Whether what comes on top of the engine's share of the memory fits into the rest."""
        rest = self.setup.device.usable_gib - self.setup.budget_gib
        return all(stage.overhead.outside_gib <= rest for stage in self.unlike)

    def slots(self, context_tokens: int) -> int:
        """Requests of so much context that one replica answers at once."""
        if not self.fits or context_tokens < 1:
            return 0
        most = self.batch.max_num_seqs
        held = min(s.layout.requests(s.blocks, context_tokens, most) for s in self.unlike)
        return held * self.setup.expert_ranks


def arrange(setup: Setup, tp: int, pp: int) -> Arrangement:
    """Work out one arrangement."""
    model, request = setup.model, setup.request
    scale, ranks = _weights_scale(setup), setup.expert_ranks
    weights = list(stage_weights_bytes(model, setup.precision, tp, pp, tp * ranks))
    if request.speculation is not None:
        drafts = draft_weights_bytes(request.speculation, model, setup.precision, tp, pp)
        weights[-1] += int(drafts / scale)
    if request.lora_slots:
        slots, rank = request.lora_slots, request.lora_rank
        for index, own in enumerate(stage_layers(len(model.layers), pp)):
            weights[index] += int(lora_bytes(model, own, tp, slots, rank) / scale)
    stages = _stages(setup, tp, [size * scale / GIB for size in weights])
    engine = Engine(
        model,
        setup.precision,
        setup.device,
        tp,
        pp,
        tuple(stage.layout for stage in stages),
        scale,
        request.prompt_per_output,
        ranks,
        request.speculation,
    )
    return Arrangement(setup, tp, pp, stages, engine)


def _stages(setup: Setup, tp: int, weights_gib: list[float]) -> tuple[Stage, ...]:
    """The stages of a pipeline; those that are alike are worked out once."""
    model, count = setup.model, len(weights_gib)
    alike: dict[Hashable, Stage] = {}
    stages = []
    for index, layers in enumerate(stage_layers(len(model.layers), count)):
        ends = (index == 0, index == count - 1)
        key = (ends, weights_gib[index], kinds_of(model, layers))
        if key not in alike:
            alike[key] = _stage(setup, tp, weights_gib[index], layers, ends, count)
        stages.append(alike[key])
    return tuple(stages)


def _stage(  # noqa: PLR0913, PLR0917
    setup: Setup,
    tp: int,
    weights_gib: float,
    layers: range,
    ends: tuple[bool, bool],
    count: int,
) -> Stage:
    """A stage of so many; ``ends`` says whether it is the first, and whether it is the last."""
    is_first, is_last = ends
    context = StageContext(
        model=setup.model,
        precision=setup.precision,
        device=setup.device,
        release=setup.release,
        tensor_parallel_size=tp,
        layers=len(layers),
        is_last=is_last,
        is_first=is_first,
        has_graphs=not setup.request.enforce_eager,
        encodes_images=not setup.request.language_model_only,
        query_tokens=setup.query_tokens,
        data_parallel_size=setup.expert_ranks,
    )
    overhead = _overhead(setup, context, count)
    layout = kv_layout(setup.model, layers, _kv_settings(setup, tp, is_last))
    left = setup.budget_gib - weights_gib - overhead.total_gib
    unsure = overhead.uncertainty_gib + weights_gib * _weights_uncertainty(setup)
    headroom = setup.headroom_gib - overhead.outside_gib
    return Stage(weights_gib, overhead, layout, left, left - unsure, headroom)


def _overhead(setup: Setup, context: StageContext, stages: int) -> Overhead:
    request = setup.request
    if not setup.is_sglang:
        return stage_overhead(context, setup.batch)
    longest = request.max_model_len or setup.model.max_position_embeddings
    return sglang.stage_overhead(context, setup.batch, stages, longest)


def _kv_settings(setup: Setup, tp: int, is_last: bool) -> KvSettings:
    """Drafts keep their tokens on the last stage; states of drafted tokens are kept on each."""
    release, request = setup.release, setup.request
    settings = KvSettings(
        tp=tp,
        kv_dtype=setup.kv_dtype,
        in_flight_tokens=setup.batch.max_num_batched_tokens * release.batches_in_flight,
        uneven=release.uneven,
        caches_prefixes=request.enable_prefix_caching,
    )
    if request.speculation is None:
        return settings
    settings = kv_settings(settings, request.speculation, setup.model)
    return settings if is_last else replace(settings, draft_layers=(), draft_token_bytes=0)


def _weights_uncertainty(setup: Setup) -> float:
    """By which share published weights were larger than ours: kernels pad and keep workspaces.

    Who makes 4-bit weights of a model leaves other layers in 8 or 16 bits each time (attention,
    gated delta nets): where neither their size nor their config.json is known, more.
    """
    method = setup.precision.quantization.method
    is_known = setup.request.weights_gib is not None or method == setup.model.quantization.method
    if setup.precision.quantization.bits == 4 and not is_known:
        return UNKNOWN_WEIGHTS
    return 0.025 if method == "mxfp4" else 0.01


def _weights_scale(setup: Setup) -> float:
    """The real size of the weights over the computed one."""
    if setup.request.weights_gib is None:
        return 1.0
    model, precision = setup.model, setup.precision
    computed = file_bytes(model, precision) + mtp_file_bytes(model, precision)
    return setup.request.weights_gib * GIB / computed
