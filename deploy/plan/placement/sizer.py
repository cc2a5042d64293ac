"""What one claim gets of given GPUs: every answer is worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from deploy.plan.placement.claim import Claim
from deploy.sizing import Device, Sizing, SizingRequest, size_gguf, size_model
from deploy.sizing.choose import split_problems, split_sizes, stages_are_legal
from deploy.sizing.setup import make_setup
from deploy.sizing.together import size_together

Split = tuple[int, int]
"""``tensor_parallel_size`` and ``pipeline_parallel_size``."""
LITTLE_CONTEXT_TOKENS = 2048
DEFAULT_LORA_RANK = 16


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
        request = _request(claim, device, 1, claim.utilization, None)
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
            little = replace(claim, context_tokens=LITTLE_CONTEXT_TOKENS, max_model_len=None)
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
        return size_model(_request(claim, device, gpus, share, split))
    smaller = replace(device, usable_gib=device.usable_gib * share)
    sizing = size_gguf(_request(claim, smaller, gpus, 1.0, None))
    users = sizing.max_num_seqs if sizing.fits else 0
    return replace(sizing, concurrent_users=users, usable_gib_per_gpu=device.usable_gib)


def _request(
    claim: Claim, device: Device, gpus: int, share: float, split: Split | None
) -> SizingRequest:
    assert claim.declared is not None  # noqa: S101 - claims on GPUs are known to sizing
    engine, shares = claim.engine, claim.engine.traits.shares_cache
    only_stage = None if engine.traits.has_pipelines else 1
    tp, pp = split or (engine.tensor_parallel_size, engine.pipeline_parallel_size or only_stage)
    return SizingRequest(
        model=claim.declared.architecture,
        devices=(device,) * gpus,
        engine=engine.kind,
        name=claim.model.name,
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        gpu_memory_utilization=share,
        max_model_len=claim.max_model_len,
        dtype=None if engine.dtype == "auto" else engine.dtype,
        quantization=claim.quantization,
        kv_cache_dtype=engine.kv_cache_dtype,
        users=claim.users if shares else claim.slots,
        context_tokens=claim.context_tokens,
        weights_gib=claim.model.weights_gib or claim.declared.weights_gib,
        max_num_seqs=claim.slots,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        engine_version=claim.engine_version,
        enforce_eager=engine.enforce_eager,
        speculation=claim.speculation,
        enable_expert_parallel=engine.enable_expert_parallel,
        language_model_only=claim.model.language_model_only,
        lora_slots=len(claim.model.lora_adapters),
        lora_rank=claim.model.max_lora_rank or DEFAULT_LORA_RANK,
        flash_attention=None if shares else engine.flash_attn != "off",
        split_mode=engine.split_mode,
        tensor_split=engine.tensor_split if gpus == len(engine.tensor_split) else (),
    )
