"""Size one model for llama.cpp and Ollama: GGUF weights, slots, layers that stay on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.errors import PlanError, Problem
from deploy.sizing.arrangement import DEFAULT_CONTEXT_TOKENS
from deploy.sizing.check import check_request
from deploy.sizing.device import weakest
from deploy.sizing.fit import Fit
from deploy.sizing.overhead import Overhead
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, reason, remedy
from deploy.sizing.request import Sizing, SizingRequest
from deploy.units import GIB

BITS_PER_WEIGHT = {
    "f16": 16.0,
    "q8_0": 8.5,
    "q6_k": 6.56,
    "q5_k_m": 5.68,
    "q5_0": 5.54,
    "q4_k_m": 4.84,
    "q4_k_s": 4.58,
    "q4_0": 4.55,
    "q3_k_m": 3.91,
    "q2_k": 3.35,
}
"""Whole files, as llama.cpp's quantize README lists them (Llama 2 7B)."""
DEFAULT_QUANTIZATION = "q4_k_m"
KV_BYTES = {"auto": 2.0, "fp8": 34 / 32}
"""f16, or q8_0 (blocks of 32 with a scale) where fp8 is asked for."""
STATE_BYTES = 4
"""llama.cpp keeps states in f32 (llama_memory_recurrent)."""
COMPUTE_TOKENS = 512
"""llama.cpp computes prompts in batches of this many tokens (n_ubatch)."""
CONTEXT_GIB = 0.45
"""CUDA context and kernels; measured, +- 0.2."""
UNCERTAINTY_GIB = 0.5
"""Of each GPU: what else a desktop keeps there, and how layers of unequal size are shared out."""
BANDWIDTH_SHARE = 0.6
STEP_SECONDS = 0.002
LEAST_CONTEXT_TOKENS = 2048
CPU_BYTES_PER_SECOND = 50e9
"""Two channels of DDR5, as desktops have; servers have more."""


@dataclass(frozen=True)
class _Fit:
    """How a GGUF file and its slots lie on the GPUs."""

    request: SizingRequest
    method: str
    context_tokens: int
    """Of each slot."""
    slots: int
    """Requests at the same time."""
    weights_bytes: float
    kv_bytes_per_token: float
    state_bytes: float
    """What layers without attention keep for each slot."""
    overhead_gib: float
    """Of each GPU."""

    @property
    def usable_bytes(self) -> float:
        """Memory of all GPUs together, less their overheads."""
        devices = self.request.devices
        usable = sum(device.usable_gib - self.overhead_gib for device in devices)
        return max(usable, 0.0) * GIB

    @property
    def slot_bytes(self) -> float:
        """KV cache of one slot."""
        return self.context_tokens * self.kv_bytes_per_token + self.state_bytes

    @property
    def needed_bytes(self) -> float:
        """Weights and every slot."""
        return self.weights_bytes + self.slots * self.slot_bytes

    @property
    def layers(self) -> int:
        """Layers of the model, the output head counted as one."""
        return len(self.request.model.layers) + 1

    @property
    def layers_on_gpu(self) -> int:
        """Layers that fit; the others stay on the CPU."""
        fitting = self.usable_bytes / (self.needed_bytes / self.layers)
        return min(self.layers, int(fitting + 1e-9))

    @property
    def verdict(self) -> Fit:
        """Whether every layer fits on the GPUs, for sure or by the estimate."""
        if self.layers_on_gpu < self.layers or self.context_tokens > self.context_limit:
            return Fit.NO
        unsure = UNCERTAINTY_GIB * len(self.request.devices) * GIB
        return Fit.YES if self.needed_bytes + unsure <= self.usable_bytes else Fit.PROBABLY

    @property
    def context_limit(self) -> int:
        """What the model was made for."""
        return self.request.model.max_position_embeddings

    @property
    def longest_context(self) -> int:
        """Tokens that each slot can have with every layer on the GPU."""
        free = self.usable_bytes - self.weights_bytes - self.slots * self.state_bytes
        return min(self.context_limit, max(int(free / self.slots / self.kv_bytes_per_token), 0))

    @property
    def most_slots(self) -> int:
        """Slots of this context that fit with every layer on the GPU."""
        if self.context_tokens > self.context_limit:
            return 0
        return max(int((self.usable_bytes - self.weights_bytes) / self.slot_bytes), 0)


def size_gguf(request: SizingRequest) -> Sizing:
    """Size a model for llama.cpp or Ollama, which share its layers over the GPUs in order.

    Raises:
        PlanError: if the request contradicts itself.
    """
    check_request(request)
    fit = _fit(request)
    count, device = len(request.devices), weakest(request.devices)
    on_gpu = fit.layers_on_gpu / fit.layers
    speed = _tokens_per_second(fit)
    return Sizing(
        supported=device.usable_gib > 0,
        fits=fit.verdict,
        reasons=tuple(_reasons(fit)),
        model=request.name,
        engine="ollama",
        engine_version="",
        gpus=tuple(device.name for device in request.devices),
        parameters_billion=count_parameters(request.model) / 1e9,
        active_parameters_billion=count_active_parameters(request.model) / 1e9,
        dtype="float16",
        quantization=fit.method,
        kv_cache_dtype="f16" if request.kv_cache_dtype == "auto" else "q8_0",
        replicas=1,
        tensor_parallel_size=1,
        pipeline_parallel_size=count,
        legal_tensor_parallel_sizes=(1,),
        gpu_memory_utilization=1.0,
        usable_gib_per_gpu=device.usable_gib,
        weights_gib_per_gpu=fit.weights_bytes / GIB / count * on_gpu,
        overhead=Overhead(
            fit.overhead_gib - CONTEXT_GIB, 0.0, CONTEXT_GIB, uncertainty_gib=UNCERTAINTY_GIB
        ),
        kv_cache_gib_per_gpu=fit.slot_bytes * fit.slots / GIB / count * on_gpu,
        kv_cache_tokens=fit.context_tokens * fit.slots if fit.verdict else 0,
        kv_cache_bytes_per_token_per_gpu=fit.kv_bytes_per_token / count,
        max_model_len=fit.context_tokens,
        max_model_len_that_fits=fit.longest_context,
        context_tokens=fit.context_tokens,
        users=request.users,
        concurrent_users=fit.most_slots,
        max_num_seqs=fit.slots,
        max_num_batched_tokens=COMPUTE_TOKENS,
        tokens_per_second_per_user=speed,
        tokens_per_second=speed * fit.slots,
        at_the_limit=_limit(fit),
        details={
            "layers_on_gpu": fit.layers_on_gpu,
            "layers": fit.layers,
            "parallel_slots": fit.slots,
        },
    )


def _fit(request: SizingRequest) -> _Fit:
    model, method = request.model, request.quantization or DEFAULT_QUANTIZATION
    if method not in BITS_PER_WEIGHT:
        raise PlanError(Problem("quantization", repr(method), ", ".join(BITS_PER_WEIGHT)))
    computed = count_parameters(model) * BITS_PER_WEIGHT[method] / 8
    buffers = COMPUTE_TOKENS * 4 * (model.vocab + 2 * model.intermediate + 4 * model.hidden)
    per_layer = 2 * model.kv_heads * model.head_dim
    if model.mla:
        per_layer = model.mla.kv_lora_rank + model.mla.rope_head_dim
    attending = sum(layer.kind != "state" for layer in model.layers)
    state = model.state.state_bytes(1, STATE_BYTES) if model.state else 0
    default = min(DEFAULT_CONTEXT_TOKENS, model.max_position_embeddings)
    return _Fit(
        request=request,
        method=method,
        context_tokens=request.max_model_len or request.context_tokens or default,
        slots=request.users or 1,
        weights_bytes=request.weights_gib * GIB if request.weights_gib else computed,
        kv_bytes_per_token=attending * per_layer * KV_BYTES[request.kv_cache_dtype],
        state_bytes=(len(model.layers) - attending) * state,
        overhead_gib=CONTEXT_GIB + buffers / GIB,
    )


def _tokens_per_second(fit: _Fit) -> float:
    """Every step reads the active weights once and every slot's cache, wherever they are."""
    model = fit.request.model
    bandwidth = weakest(fit.request.devices).bandwidth_bytes_per_second * BANDWIDTH_SHARE
    if bandwidth <= 0:
        return 0.0
    active = count_active_parameters(model) / count_parameters(model)
    read = fit.weights_bytes * min(active * fit.slots, 1.0) + fit.slot_bytes * fit.slots
    on_gpu = fit.layers_on_gpu / fit.layers
    slow = CPU_BYTES_PER_SECOND * BANDWIDTH_SHARE
    return 1.0 / (read * on_gpu / bandwidth + read * (1 - on_gpu) / slow + STEP_SECONDS)


def _limit(fit: _Fit) -> Reason:
    return reason(
        ReasonKind.SLOTS,
        slots=fit.slots,
        context_tokens=fit.context_tokens,
        request=fit.slots + 1,
        slot_gib=fit.slot_bytes / GIB,
    )


def _reasons(fit: _Fit) -> Iterator[Reason]:
    if weakest(fit.request.devices).usable_gib <= 0:
        yield reason(ReasonKind.MEMORY_UNKNOWN)
    elif fit.context_tokens > fit.context_limit:
        way = remedy(RemedyKind.SHORTER_CONTEXT, tokens=fit.context_limit)
        yield reason(
            ReasonKind.BEYOND_MODEL, way, limit=fit.context_limit, tokens=fit.context_tokens
        )
    elif fit.layers_on_gpu < fit.layers:
        yield _layers_on_cpu(fit)


def _layers_on_cpu(fit: _Fit) -> Reason:
    ways = [remedy(RemedyKind.SMALLER_QUANTIZATION), remedy(RemedyKind.MORE_MEMORY)]
    if fit.longest_context >= LEAST_CONTEXT_TOKENS:
        ways.insert(0, remedy(RemedyKind.SHORTER_CONTEXT, tokens=fit.longest_context))
    return reason(
        ReasonKind.LAYERS_ON_CPU,
        *ways,
        needed_gib=fit.needed_bytes / GIB,
        slots=fit.slots,
        context_tokens=fit.context_tokens,
        usable_gib=fit.usable_bytes / GIB,
        away=fit.layers - fit.layers_on_gpu,
        layers=fit.layers,
        cpu_gb_per_second=CPU_BYTES_PER_SECOND / 1e9,
    )
