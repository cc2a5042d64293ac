"""What one claim gets of given GPUs: every answer is worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from deploy.plan.placement.claim import Claim, Split
from deploy.sizing import Device, Sizing, size_gguf, size_model
from deploy.sizing.choose import split_problems, split_sizes, stages_are_legal
from deploy.sizing.setup import make_setup
from deploy.sizing.together import size_together


@dataclass
class Sizer:
    """Sizes claims, and remembers."""

    _sizings: dict[tuple[object, ...], Sizing] = field(default_factory=dict)

    def best(self, claim: Claim, device: Device, gpus: int, share: float | None) -> Sizing:
        """The sizing's own choice on so many GPUs, with what it rejected and why."""
        return self._size(claim, device, gpus, share or claim.utilization, None)

    def replica(self, claim: Claim, device: Device, split: Split, share: float) -> Sizing:
        """One replica with a given split."""
        return self._size(claim, device, split[0] * split[1], share, split)

    def splits(self, claim: Claim, device: Device, most: int) -> list[Split]:
        """The splits of one replica over at most so many GPUs.

        Layers are shared out over a pipeline only where so many GPUs cannot share each layer, and
        no fewer of them that can hold the model: a pipeline answers each user more slowly.
        """
        if not claim.engine.traits.shares_cache:
            parts = len(claim.engine.tensor_split)
            sizes = [parts] if parts else split_sizes(most)
            return [(1, size) for size in sizes if size <= most]
        tp, pp = claim.engine.tensor_parallel_size, claim.engine.pipeline_parallel_size
        if tp or pp:
            split = (tp or 1, pp or 1)
            return [split] if split[0] * split[1] <= most else []
        request = claim.request(device, 1, claim.utilization, None)
        setup = make_setup(request)
        sizes = split_sizes(most)
        legal = [size for size in sizes if not split_problems(setup, size)]
        holding = (size for size in legal if self._holds(claim, device, size))
        smallest = next(holding, most + 1)
        stages = [size for size in sizes if size < smallest and size not in legal]
        if not claim.engine.traits.has_pipelines:
            return [(size, 1) for size in legal]
        most_stages = len(request.model.layers)
        return [(size, 1) for size in legal] + [
            (1, n) for n in stages if n <= most_stages and stages_are_legal(setup, n)
        ]

    def _holds(self, claim: Claim, device: Device, size: int) -> bool:
        """Whether so many GPUs hold the weights and a little context."""
        key = (claim.index, device, size, "holds")
        if key not in self._sizings:
            little = claim.with_little_context
            self._sizings[key] = _size(little, device, size, claim.utilization, (size, 1))
        return bool(self._sizings[key].fits)

    def _size(
        self, claim: Claim, device: Device, gpus: int, share: float, split: Split | None
    ) -> Sizing:
        key = (claim.index, bool(claim.together), device, gpus, round(share, 4), split)
        if key not in self._sizings:
            if claim.together:
                each = [self._size(one, device, gpus, share, split) for one in claim.together]
                most, usable_gib = claim.engine.most_loaded, device.usable_gib * share
                self._sizings[key] = size_together(each, most, usable_gib)
            else:
                self._sizings[key] = _size(claim, device, gpus, share, split)
        return self._sizings[key]


def _size(claim: Claim, device: Device, gpus: int, share: float, split: Split | None) -> Sizing:
    if claim.engine.traits.shares_cache:
        return size_model(claim.request(device, gpus, share, split))
    smaller = replace(device, usable_gib=device.usable_gib * share)
    sizing = size_gguf(claim.request(smaller, gpus, 1.0, None))
    users = sizing.max_num_seqs if sizing.fits else 0
    return replace(sizing, concurrent_users=users, usable_gib_per_gpu=device.usable_gib)
