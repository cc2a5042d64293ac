"""How fast it answers: an estimate from bandwidth and compute, not a measurement.

A decoding step reads the weights once and every request's KV cache, computes, starts the kernels
of every layer and waits for other GPUs: the times add up, since each layer does one after the
other. Reading prompts is bound by compute and takes its time from the same GPUs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.catalog.experts import ExpertSplit
from deploy.catalog.weight_tensors import (
    WeightTensor,
    count_active_parameters,
    head_tensors,
    layer_tensors,
)
from deploy.sizing.device import Device
from deploy.sizing.kv_cache import KvLayout
from deploy.sizing.precision import Precision, tensor_bytes
from deploy.sizing.speculation import Speculation, draft_layers, draft_weights_bytes

BANDWIDTH_SHARE = 0.87
"""Of the rated bandwidth; large copies reach about as much."""
COMPUTE_SHARE = 0.5
"""Of the rated compute, reading prompts: engines reach 40 to 60 % (Databricks, "LLM Inference
Performance Engineering: Best Practices")."""
STEP_SECONDS = 0.0015
"""Scheduling and sampling of one step."""
LAYER_SECONDS = 50e-6
"""Kernels of one layer that read little: norms, rotations, activations."""
ROUTING_SECONDS = 25e-6
"""The same of a layer of experts: choosing them, and sorting the tokens by expert."""
PCIE_BYTES_PER_SECOND = 20e9
LINK_LATENCY_SECONDS = 10e-6
PCIE_LATENCY_SECONDS = 30e-6
ERROR = 0.4
"""Many requests at once, and mixtures of experts, were published within this share of it."""
DENSE_ERROR = 0.2
"""The same of a single request to a dense model."""


@dataclass(frozen=True)
class Engine:
    """One replica, as far as speed is concerned."""

    model: Architecture
    precision: Precision
    device: Device
    tensor_parallel_size: int
    pipeline_parallel_size: int
    layouts: tuple[KvLayout, ...]
    """KV cache of each stage."""
    weights_scale: float = 1.0
    """Real size of the weights over the computed one."""
    prompt_per_output: float = 0.0
    """New tokens of prompts that are read for each token written."""
    expert_ranks: int = 1
    """Ranks with attention of their own that share the experts."""
    experts: ExpertSplit | None = None
    """How its GPUs share the experts out."""
    speculation: Speculation | None = None
    """How tokens are drafted, if they are."""

    @cached_property
    def active_parameters(self) -> int:
        """Parameters that a token meets."""
        return count_active_parameters(self.model)

    @cached_property
    def reads(self) -> tuple[float, tuple[tuple[WeightTensor, float], ...]]:
        """Bytes that every step reads on one GPU, and experts with the bytes of all of a kind."""
        key = ("reads", self.precision, self.tensor_parallel_size, self.experts)
        return self.model.known(key, self._reads)

    def _reads(self) -> tuple[float, tuple[tuple[WeightTensor, float], ...]]:
        model, tp = self.model, self.tensor_parallel_size
        counts: Counter[WeightTensor] = Counter(head_tensors(model, tp))
        for layer, number in model.layer_kinds():
            for tensor in layer_tensors(model, layer, tp, self.experts):
                counts[tensor] += number
        sizes = [
            (tensor, float(count * tensor_bytes(tensor, model, self.precision)))
            for tensor, count in counts.items()
        ]
        always = sum(size for tensor, size in sizes if tensor.copies == 1)
        return always, tuple((tensor, size) for tensor, size in sizes if tensor.copies > 1)

    @cached_property
    def draft_bytes(self) -> float:
        """Bytes that drafting one token reads on one GPU: the draft, and the head it shares."""
        if self.speculation is None:
            return 0.0
        split = (self.tensor_parallel_size, 1)
        own = draft_weights_bytes(self.speculation, self.model, self.precision, *split)
        if self.speculation.method != "mtp":
            return own
        head = self.model.vocab * self.model.hidden * self.precision.dtype_bytes
        return own + head / self.tensor_parallel_size

    @cached_property
    def draft_layers(self) -> int:
        """Layers of the draft."""
        return len(draft_layers(self.speculation, self.model)) if self.speculation else 0


def decode_seconds(engine: Engine, requests: float, context_tokens: float) -> float:
    """Time of one token for each of so many requests.

    With speculative decoding a step checks the drafted tokens of every request at once, and yields
    ``tokens_per_step`` of them.
    """
    stages, ranks, drafts = engine.pipeline_parallel_size, engine.expert_ranks, engine.speculation
    batch = max(requests / stages / ranks, 1.0)
    checked = batch * (1 + drafts.tokens if drafts else 1)
    read = _weights_read_bytes(engine, checked * ranks) + batch * _kv_read_bytes(
        engine, context_tokens
    )
    bandwidth = engine.device.bandwidth_bytes_per_second * BANDWIDTH_SHARE
    per_token = COMPUTE_SHARE / max(prefill_tokens_per_second(engine), 1e-9)
    waits = _communication_seconds(engine, checked) + fixed_seconds(engine.model)
    step = read / bandwidth + checked * per_token + waits
    prompts = batch * engine.prompt_per_output * per_token / COMPUTE_SHARE
    if drafts is None:
        return step + prompts
    drafting = engine.draft_bytes / bandwidth + engine.draft_layers * LAYER_SECONDS
    return (step + drafts.tokens * drafting) / drafts.tokens_per_step + prompts


def fixed_seconds(model: Architecture) -> float:
    """What a step takes however little it reads."""
    layers = len(model.layers)
    routed = layers - len(model.moe.dense_layers) if model.moe else 0
    return STEP_SECONDS + layers * LAYER_SECONDS + routed * ROUTING_SECONDS


def prefill_tokens_per_second(engine: Engine) -> float:
    """Prompt tokens that one replica reads in a second."""
    flops = engine.device.flops_per_second * COMPUTE_SHARE * engine.tensor_parallel_size
    return flops / (2 * engine.active_parameters)


def tokens_per_second_per_user(
    engine: Engine, users: float, slots: int, context_tokens: float
) -> float:
    """What each of ``users`` gets; those beyond ``slots`` wait, so all get less on average."""
    if engine.device.bandwidth_bytes_per_second <= 0 or slots < 1 or users <= 0:
        return 0.0
    running = min(users, slots)
    return running / users / decode_seconds(engine, running, context_tokens)


def _weights_read_bytes(engine: Engine, batch: float) -> float:
    """Bytes of weights per GPU, over all stages, that a step of so many tokens reads."""
    model = engine.model
    always, experts = engine.reads
    total = always + sum(size * _copies_read(tensor, batch) for tensor, size in experts)
    total *= engine.weights_scale
    if model.tied_embeddings:
        head = model.vocab * model.hidden * engine.precision.dtype_bytes
        total += head / engine.tensor_parallel_size
    return total


def _copies_read(tensor: WeightTensor, batch: float) -> float:
    """Of experts, those that at least one token of the batch goes to."""
    untouched: float = (1 - tensor.copies_per_token / tensor.copies) ** batch
    return tensor.copies * (1 - untouched)


def _kv_read_bytes(engine: Engine, context_tokens: float) -> float:
    return sum(layout.read_bytes(context_tokens) for layout in engine.layouts)


def _communication_seconds(engine: Engine, batch: float) -> float:
    """Two all-reduces per layer, and one hop between stages."""
    device, tp = engine.device, engine.tensor_parallel_size
    tp = max(tp, engine.expert_ranks)
    speed = device.link_bytes_per_second or PCIE_BYTES_PER_SECOND
    latency = LINK_LATENCY_SECONDS if device.has_link else PCIE_LATENCY_SECONDS
    size = batch * engine.model.hidden * 2
    hops = (engine.pipeline_parallel_size - 1) * (latency + size / speed)
    if tp == 1:
        return hops
    return hops + 2 * len(engine.model.layers) * (latency + 2 * (tp - 1) / tp * size / speed)
