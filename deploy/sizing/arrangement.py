"""One arrangement: a model split over ``tp`` x ``pp`` GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from deploy.sizing.fit import Fit
from deploy.sizing.overhead import Batch
from deploy.sizing.setup import Setup
from deploy.sizing.speculation import draft_weights_bytes
from deploy.sizing.stage import Stage, make_stages
from deploy.sizing.throughput import Engine
from deploy.sizing.weights import lora_bytes, stage_layers, stage_weights_bytes
from deploy.spec.engine_kinds import ENGINES
from deploy.units import GIB

MINIMUM_CONTEXT_TOKENS = 2048
"""Less context than this is of no use for code; asked for explicitly, it is accepted."""
DEFAULT_CONTEXT_TOKENS = 8192


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
        own = self.setup.batch
        if self.setup.request.max_num_seqs is not None:
            return own
        if not self.needs_state_blocks:
            return Batch(own.max_num_batched_tokens, self.state_requests or own.max_num_seqs)
        most = min(max(stage.least_blocks, stage.blocks // 2) for stage in self.unlike)
        return Batch(own.max_num_batched_tokens, max(min(own.max_num_seqs, most), 1))

    @property
    def state_requests(self) -> int:
        """Requests whose states have slots on every GPU; 0 where there are no such slots."""
        found = (stage.state_requests for stage in self.unlike if stage.state_requests)
        return min(found, default=0)

    @property
    def needs_state_blocks(self) -> bool:
        """Whether each request that a step may hold needs a block when vLLM starts.

        With full CUDA graphs it refuses to start otherwise (``CompilationConfig``:
        "max_num_seqs exceeds available Mamba cache blocks").
        """
        setup = self.setup
        return setup.model.has_state and not setup.request.enforce_eager and not setup.is_sglang

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
    scale, ranks = setup.weights_scale, setup.expert_ranks
    experts = setup.expert_split(tp)
    weights = list(stage_weights_bytes(model, setup.precision, tp, pp, experts))
    if request.speculation is not None:
        drafts = draft_weights_bytes(request.speculation, model, setup.precision, tp, pp)
        weights[-1] += int(drafts / scale)
    if request.lora_slots:
        slots, rank = request.lora_slots, request.lora_rank
        for index, own in enumerate(stage_layers(len(model.layers), pp)):
            weights[index] += int(lora_bytes(model, own, tp, slots, rank) / scale)
    stages = make_stages(setup, tp, [size * scale / GIB for size in weights])
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
        experts,
        request.speculation,
    )
    return Arrangement(setup, tp, pp, stages, engine)
