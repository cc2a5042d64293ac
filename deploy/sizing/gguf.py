"""Size one model for llama.cpp and Ollama: GGUF weights, slots, layers that stay on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.errors import PlanError, Problem
from deploy.sizing.arrangement import DEFAULT_CONTEXT_TOKENS
from deploy.sizing.check import check_request
from deploy.sizing.device import weakest
from deploy.sizing.explain import context_reasons
from deploy.sizing.fit import Fit
from deploy.sizing.gguf_memory import BITS_PER_WEIGHT, COMPUTE_TOKENS, CONTEXT_GIB, GgufMemory
from deploy.sizing.overhead import Overhead
from deploy.sizing.reasons import Reason, ReasonKind, Remedy, RemedyKind, reason, remedy
from deploy.sizing.request import Sizing, SizingRequest
from deploy.sizing.speculation import gguf_draft_refusals
from deploy.sizing.throughput import fixed_seconds
from deploy.units import GIB

DEFAULT_QUANTIZATION = "q4_k_m"
BANDWIDTH_SHARE = 0.7
"""Of the rated bandwidth: unpacking the weights takes its part."""
LEAST_CONTEXT_TOKENS = 2048
MOST_SLOTS = 1024
CPU_BYTES_PER_SECOND = 50e9
"""Two channels of DDR5, as desktops have; servers have more."""
OLLAMA_CONTEXTS = ((48, 262144), (24, 32768), (0, 4096))
"""Tokens that Ollama takes where nothing is said, from so many GiB on (docs/context-length.mdx)."""


@dataclass(frozen=True)
class _Fit:
    """How a GGUF file and its slots lie on the GPUs."""

    memory: GgufMemory
    context_tokens: int
    """Of each slot."""

    @property
    def request(self) -> SizingRequest:
        """What was asked."""
        return self.memory.request

    @property
    def slots(self) -> int:
        """Requests at the same time."""
        return self.memory.slots

    @property
    def overhead_gib(self) -> float:
        """What each GPU keeps apart from weights and cache."""
        return self.memory.own_bytes(self.context_tokens) / GIB

    @property
    def usable_bytes(self) -> float:
        """What all GPUs together have room for, less their overheads."""
        return self.memory.room_bytes(self.context_tokens)

    @property
    def cache_bytes(self) -> float:
        """KV cache of every slot."""
        return self.memory.cache_bytes(self.context_tokens)

    @property
    def needed_bytes(self) -> float:
        """Weights and every slot."""
        return self.memory.weights_bytes + self.cache_bytes

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
        if self.layers_on_gpu < self.layers or self.is_too_long:
            return Fit.NO
        refused = any(gguf_draft_refusals(self.request.speculation, self.request.model))
        if refused or not self.memory.can_read_cache:
            return Fit.NO
        unsure = self.memory.unsure_bytes(self.context_tokens)
        return Fit.YES if self.needed_bytes + unsure <= self.usable_bytes else Fit.PROBABLY

    @property
    def context_limit(self) -> int:
        """What the model was made for."""
        return self.request.model.max_position_embeddings

    @property
    def is_too_long(self) -> bool:
        """Whether the context that was asked for cannot be."""
        return any(context_reasons(self.request))

    @property
    def longest_context(self) -> int:
        """Tokens that each slot can have with every layer on the GPU."""
        low, high = 0, self.context_limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.memory.holds(middle)
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    @property
    def most_slots(self) -> int:
        """Slots of this context that fit with every layer on the GPU."""
        if self.is_too_long:
            return 0
        low, high = 0, MOST_SLOTS
        while low < high:
            middle = (low + high + 1) // 2
            fits = replace(self.memory, slots=middle).holds(self.context_tokens)
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    @property
    def ollama_context(self) -> int:
        """What Ollama would take where nothing is said."""
        gib = self.memory.total_bytes / GIB
        default = next(tokens for least, tokens in OLLAMA_CONTEXTS if gib >= least)
        return min(default, self.context_limit)


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
    unsure = fit.memory.unsure_bytes(fit.context_tokens) / GIB / count
    return Sizing(
        supported=device.usable_gib > 0,
        fits=fit.verdict,
        reasons=tuple(_reasons(fit)),
        warnings=tuple(_warnings(fit)),
        model=request.name,
        engine=request.engine,
        engine_version="",
        gpus=tuple(device.name for device in request.devices),
        parameters_billion=count_parameters(request.model) / 1e9,
        active_parameters_billion=count_active_parameters(request.model) / 1e9,
        dtype="float16",
        quantization=fit.memory.method,
        kv_cache_dtype=fit.memory.cache_type,
        replicas=1,
        tensor_parallel_size=1,
        pipeline_parallel_size=count,
        legal_tensor_parallel_sizes=(1,),
        gpu_memory_utilization=1.0,
        usable_gib_per_gpu=device.usable_gib,
        weights_gib_per_gpu=fit.memory.weights_bytes / GIB / count * on_gpu,
        overhead=Overhead(fit.overhead_gib - CONTEXT_GIB, 0.0, CONTEXT_GIB, uncertainty_gib=unsure),
        kv_cache_gib_per_gpu=fit.cache_bytes / GIB / count * on_gpu,
        kv_cache_tokens=fit.context_tokens * fit.slots if fit.verdict else 0,
        kv_cache_bytes_per_token_per_gpu=fit.memory.kv_bytes_per_token / count,
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
            "flash_attention": fit.memory.has_flash_attention,
            **({"ollama_default_context": fit.ollama_context} if _is_ollama(fit) else {}),
        },
    )


def _is_ollama(fit: _Fit) -> bool:
    return fit.request.engine == "ollama"


def _fit(request: SizingRequest) -> _Fit:
    model, method = request.model, request.quantization or DEFAULT_QUANTIZATION
    if method not in BITS_PER_WEIGHT:
        raise PlanError(Problem("quantization", repr(method), ", ".join(BITS_PER_WEIGHT)))
    default = min(DEFAULT_CONTEXT_TOKENS, model.max_position_embeddings)
    context = request.max_model_len or request.context_tokens or default
    return _Fit(GgufMemory(request, method, request.users or 1), context)


def _tokens_per_second(fit: _Fit) -> float:
    """Every step reads the active weights once and every slot's cache, wherever they are.

    With a draft it reads that once for each token drafted, and yields more than one.
    """
    model, drafts = fit.request.model, fit.request.speculation
    bandwidth = weakest(fit.request.devices).bandwidth_bytes_per_second * BANDWIDTH_SHARE
    if bandwidth <= 0:
        return 0.0
    read, fixed = _read_bytes(fit.memory, fit.context_tokens), fixed_seconds(model)
    if drafts and fit.memory.draft and drafts.draft:
        read += drafts.tokens * _read_bytes(fit.memory.draft, fit.context_tokens)
        fixed += drafts.tokens * fixed_seconds(drafts.draft)
    on_gpu = fit.layers_on_gpu / fit.layers
    slow = CPU_BYTES_PER_SECOND * BANDWIDTH_SHARE
    step = read * on_gpu / bandwidth + read * (1 - on_gpu) / slow + fixed
    return (drafts.tokens_per_step if drafts else 1.0) / step


def _read_bytes(memory: GgufMemory, context_tokens: int) -> float:
    """Of one model, for one token of each slot."""
    active = count_active_parameters(memory.model) / count_parameters(memory.model)
    weights = memory.own_weights_bytes * min(active * memory.slots, 1.0)
    return weights + memory.own_cache_bytes(context_tokens)


def _limit(fit: _Fit) -> Reason:
    more = replace(fit.memory, slots=fit.slots + 1)
    slot = more.needed_bytes(fit.context_tokens) - fit.memory.needed_bytes(fit.context_tokens)
    return reason(
        ReasonKind.SLOTS,
        slots=fit.slots,
        context_tokens=fit.context_tokens,
        request=fit.slots + 1,
        slot_gib=slot / GIB,
        setting="OLLAMA_NUM_PARALLEL" if _is_ollama(fit) else "LLAMA_ARG_N_PARALLEL",
    )


def _reasons(fit: _Fit) -> Iterator[Reason]:
    refused = tuple(gguf_draft_refusals(fit.request.speculation, fit.request.model))
    if weakest(fit.request.devices).usable_gib <= 0:
        yield reason(ReasonKind.MEMORY_UNKNOWN)
    elif refused:
        yield from refused
    elif fit.is_too_long:
        yield from context_reasons(fit.request)
    elif not fit.memory.can_read_cache:
        way = remedy(RemedyKind.AUTO_KV_CACHE)
        kind = fit.memory.cache_type
        yield reason(ReasonKind.CACHE_NOT_READ, way, dtype=kind, model=fit.request.name)
    elif fit.layers_on_gpu < fit.layers:
        yield _layers_on_cpu(fit)


def _warnings(fit: _Fit) -> Iterator[Reason]:
    if fit.verdict is Fit.PROBABLY:
        unsure = fit.memory.unsure_bytes(fit.context_tokens)
        yield reason(
            ReasonKind.PROBABLY_ON_GPU,
            *_ways_out(fit),
            needed_gib=fit.needed_bytes / GIB,
            most_gib=(fit.needed_bytes + unsure) / GIB,
            usable_gib=fit.usable_bytes / GIB,
        )
    if not fit.memory.has_flash_attention:
        yield reason(
            ReasonKind.NO_FLASH_ATTENTION,
            graph_gib=fit.memory.graph_bytes(fit.context_tokens) / GIB,
        )
    asked = fit.request.max_model_len or fit.request.context_tokens
    if _is_ollama(fit) and not asked and fit.ollama_context != fit.context_tokens:
        yield reason(ReasonKind.OLLAMA_CONTEXT, tokens=fit.ollama_context, sized=fit.context_tokens)


def _layers_on_cpu(fit: _Fit) -> Reason:
    return reason(
        ReasonKind.LAYERS_ON_CPU,
        *_ways_out(fit),
        needed_gib=fit.needed_bytes / GIB,
        slots=fit.slots,
        context_tokens=fit.context_tokens,
        usable_gib=fit.usable_bytes / GIB,
        away=fit.layers - fit.layers_on_gpu,
        layers=fit.layers,
        cpu_gb_per_second=CPU_BYTES_PER_SECOND / 1e9,
    )


def _ways_out(fit: _Fit) -> Iterator[Remedy]:
    if LEAST_CONTEXT_TOKENS <= fit.longest_context < fit.context_tokens:
        yield remedy(RemedyKind.SHORTER_CONTEXT, tokens=fit.longest_context)
    yield remedy(RemedyKind.SMALLER_QUANTIZATION)
    yield remedy(RemedyKind.MORE_MEMORY)
