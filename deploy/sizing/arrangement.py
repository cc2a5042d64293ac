"""One arrangement: a model split over ``tp`` x ``pp`` GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.sizing.device import Device
from deploy.sizing.fit import Fit
from deploy.sizing.kv_cache import KvLayout, kv_layout
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
from deploy.sizing.throughput import Engine
from deploy.sizing.weights import file_bytes, stage_layers, stage_weights_bytes
from deploy.units import GIB

MINIMUM_CONTEXT_TOKENS = 2048
"""Less context than this is of no use for code; asked for explicitly, it is accepted."""
DEFAULT_CONTEXT_TOKENS = 8192
PINNED_STEP_BYTES = 64 * MIB
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
    def budget_gib(self) -> float:
        """Memory that the engine may use on each GPU."""
        return self.device.usable_gib * self.request.gpu_memory_utilization

    @property
    def headroom_gib(self) -> float:
        """Memory that no engine takes, at most a tenth: engines that share a GPU share it too."""
        taken = max(self.request.gpu_memory_utilization, USUAL_UTILIZATION)
        return self.device.usable_gib * (1 - taken)

    @property
    def batch(self) -> Batch:
        """What one step may hold."""
        wanted = self.request.max_model_len or self.model.max_position_embeddings
        default = default_batch(self.device, self.release, wanted)
        return Batch(
            self.request.max_num_batched_tokens or default.max_num_batched_tokens,
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
        whole = size // PINNED_STEP_BYTES * PINNED_STEP_BYTES
        return whole if whole >= self.least_kv_cache_gib * GIB > 0 else size

    @property
    def blocks(self) -> int:
        """Blocks of its KV cache."""
        return self.layout.blocks(self.kv_cache_gib * GIB)

    @property
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

    @property
    def tightest(self) -> Stage:
        """The stage that decides."""
        return min(self.stages, key=lambda stage: (stage.tokens, stage.kv_cache_gib))

    @property
    def replicas(self) -> int:
        """Engines of this kind that the GPUs hold."""
        size = self.tensor_parallel_size * self.pipeline_parallel_size
        return len(self.setup.request.devices) // size

    @cached_property
    def longest_context(self) -> int:
        """Tokens of the longest request that fits, within what the model was made for."""
        limit = self.setup.model.max_position_embeddings
        return min(stage.layout.longest_request(stage.blocks, limit) for stage in self.stages)

    @cached_property
    def safe_context(self) -> int:
        """The same on the pessimistic side."""
        limit = self.setup.model.max_position_embeddings
        return min(s.layout.longest_request(s.least_blocks, limit) for s in self.stages)

    @property
    def kv_cache_tokens(self) -> int:
        """Tokens of the KV cache, as this release's log counts them."""
        longest = self.setup.request.max_model_len or self.longest_context
        if not self.setup.release.tokens_by_request or not longest:
            return self.tightest.tokens
        return min(s.blocks * longest // s.layout.request_blocks(longest) for s in self.stages)

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

    @property
    def context_tokens(self) -> int:
        """Context that users are counted at."""
        default = min(DEFAULT_CONTEXT_TOKENS, self.max_model_len)
        return self.setup.request.context_tokens or default

    @cached_property
    def fits(self) -> Fit:
        """Whether the engine starts, with the context wanted."""
        if self.longest_context < self.wanted_context:
            return Fit.NO
        is_safe = self.safe_context >= self.wanted_context and self._graphs_have_room
        is_safe &= self.setup.release.is_trusted
        return Fit.YES if is_safe else Fit.PROBABLY

    @property
    def _graphs_have_room(self) -> bool:
        """Whether what comes on top of the engine's share of the memory fits into the rest."""
        rest = self.setup.device.usable_gib - self.setup.budget_gib
        return all(stage.overhead.outside_gib <= rest for stage in self.stages)

    def slots(self, context_tokens: int) -> int:
        """Requests of so much context that one replica answers at once."""
        if not self.fits or context_tokens < 1:
            return 0
        held = min(s.blocks // s.layout.request_blocks(context_tokens) for s in self.stages)
        return min(held, self.setup.batch.max_num_seqs)


def arrange(setup: Setup, tp: int, pp: int) -> Arrangement:
    """Work out one arrangement."""
    model, batch = setup.model, setup.batch
    scale = _weights_scale(setup)
    weights = stage_weights_bytes(model, setup.precision, tp, pp)
    layers = stage_layers(len(model.layers), pp)
    stages = []
    for index, (size, own_layers) in enumerate(zip(weights, layers, strict=True)):
        overhead = stage_overhead(
            StageContext(
                model=model,
                precision=setup.precision,
                device=setup.device,
                release=setup.release,
                tensor_parallel_size=tp,
                layers=len(own_layers),
                is_last=index == pp - 1,
                has_graphs=not setup.request.enforce_eager,
            ),
            batch,
        )
        in_flight = batch.max_num_batched_tokens * setup.release.batches_in_flight
        layout = kv_layout(model, own_layers, tp, setup.kv_dtype, in_flight, setup.release.uneven)
        weights_gib = size * scale / GIB
        left = setup.budget_gib - weights_gib - overhead.total_gib
        unsure = overhead.uncertainty_gib + weights_gib * _weights_uncertainty(setup)
        headroom = setup.headroom_gib - overhead.outside_gib
        stages.append(Stage(weights_gib, overhead, layout, left, left - unsure, headroom))
    layouts = tuple(stage.layout for stage in stages)
    engine = Engine(
        model,
        setup.precision,
        setup.device,
        tp,
        pp,
        layouts,
        scale,
        setup.request.prompt_per_output,
    )
    return Arrangement(setup, tp, pp, tuple(stages), engine)


def _weights_uncertainty(setup: Setup) -> float:
    """By which share published weights were larger than ours: kernels pad and keep workspaces."""
    return 0.025 if setup.precision.quantization.method == "mxfp4" else 0.01


def _weights_scale(setup: Setup) -> float:
    """The real size of the weights over the computed one."""
    if setup.request.weights_gib is None:
        return 1.0
    return setup.request.weights_gib * GIB / file_bytes(setup.model, setup.precision)
