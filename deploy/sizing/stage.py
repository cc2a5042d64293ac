"""The stages of a pipeline: what lies on each GPU, and what is left for the KV cache."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

from deploy.sizing import sglang, sglang_states
from deploy.sizing.kv_cache import KvLayout, KvSettings, kinds_of, kv_layout
from deploy.sizing.kv_pools import pool_layout
from deploy.sizing.overhead import MIB, Overhead, StageContext, stage_overhead
from deploy.sizing.setup import Setup
from deploy.sizing.speculation import kv_settings
from deploy.sizing.weights import stage_layers
from deploy.units import GIB

PINNED_STEP_BYTES = 64 * MIB


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
    state_requests: int = 0
    """Requests whose states have slots of their own; 0 where there are none."""
    pools_gib: float = 0.0
    """Of the overhead, what lies within the share that weights and KV cache have: those slots, and
    caches of images."""

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


def make_stages(setup: Setup, tp: int, weights_gib: list[float]) -> tuple[Stage, ...]:
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
        experts=setup.expert_split(tp),
    )
    overhead = _overhead(setup, context, count)
    settings, window_share = _kv_settings(setup, tp, is_last), setup.window_share
    layout = (
        pool_layout(setup.model, layers, settings, window_share)
        if window_share
        else kv_layout(setup.model, layers, settings)
    )
    left = setup.budget_gib - weights_gib - overhead.total_gib
    slot, requests = layout.slot_bytes, 0
    pools_gib = sglang.image_pools_gib(context) if setup.is_sglang else 0.0
    if slot:
        fits = sglang_states.requests_that_fit(left - pools_gib, slot, setup.batch.max_num_seqs)
        requests = setup.request.max_num_seqs or fits
        pools_gib += sglang_states.pool_gib(requests, slot)
    overhead = replace(overhead, buffers_gib=overhead.buffers_gib + pools_gib)
    left -= pools_gib
    unsure = overhead.uncertainty_gib + weights_gib * setup.weights_uncertainty
    headroom = setup.headroom_gib - overhead.outside_gib
    least = left - unsure
    return Stage(weights_gib, overhead, layout, left, least, headroom, requests, pools_gib)


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
