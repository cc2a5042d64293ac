"""Which arrangement of a model on given GPUs is the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from deploy.sizing.arrangement import Arrangement, arrange
from deploy.sizing.parallelism import tensor_parallel_problems
from deploy.sizing.reasons import Reason
from deploy.sizing.setup import Setup
from deploy.sizing.splits import engine_split_problems
from deploy.sizing.throughput import tokens_per_second_per_user
from deploy.spec.engine_kinds import ENGINES

LARGEST_SPLIT = 16
"""Beyond this many GPUs only powers of two are tried: no one splits a model 37 ways."""


@dataclass(frozen=True, eq=False)
class Scored:
    """An arrangement and what one replica of it gives."""

    arrangement: Arrangement
    slots: int
    """Requests at once."""

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.arrangement.gpus

    @cached_property
    def comfortable(self) -> int:
        """How many requests at once at the pace that is asked for."""
        pace, low, high = self.arrangement.setup.request.pace, 0, self.slots
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.speed(middle) >= pace else (low, middle - 1)
        return low

    @cached_property
    def is_preferred(self) -> bool:
        """Whether no tensor parallelism over as many GPUs is legal instead."""
        setup = self.arrangement.setup
        if self.arrangement.pipeline_parallel_size == 1:
            return True
        split = self.gpus // setup.expert_ranks
        return bool(split_problems(setup, split))

    def served(self, gpus: int) -> int:
        """Requests at once with so many GPUs."""
        return self.slots * (gpus // self.gpus)

    def speed(self, users: float) -> float:
        """Tokens a second for each of so many users of one replica."""
        context = self.arrangement.context_tokens
        return tokens_per_second_per_user(
            self.arrangement.engine, max(users, 1.0), self.slots, context
        )


def score(arrangement: Arrangement) -> Scored:
    """What one replica gives."""
    return Scored(arrangement, arrangement.slots(arrangement.context_tokens))


def split_problems(setup: Setup, tp: int) -> tuple[Reason, ...]:
    """Why a model, its experts and its draft cannot be split over so many GPUs."""
    request, scheme = setup.request, setup.precision.quantization
    experts = setup.expert_split(tp)
    problems = engine_split_problems(request.engine, setup.model, scheme, tp, experts)
    draft = request.speculation.draft if request.speculation else None
    if draft is None:
        return problems
    return (*problems, *tensor_parallel_problems(draft, draft.quantization, tp))


def stages_are_legal(setup: Setup, pp: int) -> bool:
    """Whether the engine can share the layers out over so many stages, as far as that is known."""
    return not ENGINES[setup.request.engine].even_stages or not len(setup.model.layers) % pp


def candidates(setup: Setup) -> Iterator[Scored]:
    """Every legal arrangement that the request allows."""
    request, count = setup.request, len(setup.request.devices) // setup.expert_ranks
    if request.plain_splits:
        yield from _plain_candidates(setup, count)
        return
    declared = request.tensor_parallel_size
    for tp in [declared] if declared else split_sizes(count):
        if split_problems(setup, tp):
            continue
        for pp in _stages(setup, count // tp):
            if not stages_are_legal(setup, pp):
                continue
            yield score(arrange(setup, tp, pp))


def _plain_candidates(setup: Setup, count: int) -> Iterator[Scored]:
    """Powers of two; layers over a pipeline only where one GPU cannot share each layer enough."""
    sizes = [tp for tp in (1, 2, 4, 8, 16) if tp <= count and not split_problems(setup, tp)]
    alone = [score(arrange(setup, tp, 1)) for tp in sizes]
    yield from alone
    if any(scored.arrangement.fits for scored in alone):
        return
    for tp in sizes:
        stages = count // tp
        if 1 < stages <= len(setup.model.layers) and stages_are_legal(setup, stages):
            yield score(arrange(setup, tp, stages))


def choose(scored: list[Scored], gpus: int, users: int | None) -> Scored:
    """The best one: it starts, serves the most users at once, and of equals is the fastest.

    Layers are shared out over a pipeline only where as many GPUs cannot share each layer: a
    pipeline answers each user more slowly. What is compared does not depend on the context or the
    users asked for, so that more context never serves more, and one GPU more never fewer.
    """
    possible = [s for s in scored if s.is_preferred and s.arrangement.fits]
    possible = possible or [s for s in scored if s.arrangement.fits] or scored
    return max(possible, key=lambda s: _merit(s, gpus, users))


def _merit(scored: Scored, gpus: int, users: int | None) -> tuple[int, float, float, int]:
    served = scored.served(gpus)
    speed = scored.speed((users or served) / (gpus // scored.gpus))
    room = scored.arrangement.tightest.kv_cache_gib
    return served, round(speed, 2), room, -scored.gpus


def split_sizes(largest: int) -> list[int]:
    """Numbers of GPUs worth trying."""
    small = range(1, largest + 1)
    return [n for n in small if n <= LARGEST_SPLIT or n & (n - 1) == 0 or n == largest]


def _stages(setup: Setup, most: int) -> list[int]:
    request = setup.request
    if request.pipeline_parallel_size:
        return [request.pipeline_parallel_size] if request.pipeline_parallel_size <= most else []
    if request.tensor_parallel_size:
        return [1] if most else []
    return split_sizes(min(most, len(setup.model.layers)))
