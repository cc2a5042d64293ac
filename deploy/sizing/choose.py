"""Which arrangement of a model on given GPUs is the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.sizing.arrangement import Arrangement, Setup, arrange
from deploy.sizing.parallelism import tensor_parallel_problems
from deploy.sizing.throughput import tokens_per_second_per_user

LARGEST_SPLIT = 16
"""Beyond this many GPUs only powers of two are tried: nobody splits a model 37 ways."""


@dataclass(frozen=True, eq=False)
class Scored:
    """An arrangement and what one replica of it gives."""

    arrangement: Arrangement
    slots: int
    """Requests at once."""
    comfortable: int
    """How many of them at reading speed."""

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.arrangement.tensor_parallel_size * self.arrangement.pipeline_parallel_size

    @property
    def is_preferred(self) -> bool:
        """Whether no tensor parallelism over as many GPUs is legal instead."""
        setup = self.arrangement.setup
        if self.arrangement.pipeline_parallel_size == 1:
            return True
        scheme = setup.precision.quantization
        return any(tensor_parallel_problems(setup.model, scheme, self.gpus))

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
    slots = arrangement.slots(arrangement.context_tokens)
    scored = Scored(arrangement, slots, 0)
    low, high = 0, slots
    while low < high:
        middle = (low + high + 1) // 2
        reads = scored.speed(middle) >= arrangement.setup.request.pace
        low, high = (middle, high) if reads else (low, middle - 1)
    return replace(scored, comfortable=low)


def candidates(setup: Setup) -> Iterator[Scored]:
    """Every legal arrangement that the request allows."""
    request, count = setup.request, len(setup.request.devices)
    if request.plain_splits:
        yield from _plain_candidates(setup, count)
        return
    declared = request.tensor_parallel_size
    for tp in [declared] if declared else split_sizes(count):
        if any(tensor_parallel_problems(setup.model, setup.precision.quantization, tp)):
            continue
        for pp in _stages(setup, count // tp):
            yield score(arrange(setup, tp, pp))


def _plain_candidates(setup: Setup, count: int) -> Iterator[Scored]:
    """Powers of two; layers over a pipeline only where one GPU cannot share each layer enough."""
    scheme = setup.precision.quantization
    sizes = [
        tp
        for tp in (1, 2, 4, 8, 16)
        if tp <= count and not any(tensor_parallel_problems(setup.model, scheme, tp))
    ]
    alone = [score(arrange(setup, tp, 1)) for tp in sizes]
    yield from alone
    if any(scored.arrangement.fits for scored in alone):
        return
    for tp in sizes:
        stages = count // tp
        if 1 < stages <= len(setup.model.layers):
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
