"""vLLM on CPUs: how it is split, how large its KV cache is, and the memory that this takes.

Rules and defaults: https://docs.vllm.ai/en/latest/getting_started/installation/cpu/ and, in vLLM
0.32, ``vllm/platforms/cpu.py`` and ``vllm/v1/worker/cpu_worker.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.catalog.architecture import Architecture
from deploy.errors import Problem
from deploy.plan.placement import Claim
from deploy.plan.refusals import engine_path
from deploy.sizing.kv_cache import BLOCK_TOKENS, KvLayout, KvSettings, kv_layout
from deploy.sizing.precision import Precision
from deploy.sizing.weights import file_bytes, stage_layers
from deploy.units import GIB

DEFAULT_BLOCK_SIZE = 128
"""Tokens; vLLM prefers multiples of 32 on CPUs."""
MLA_BLOCK_SIZE = 16
"""What its kernel for MLA on CPUs is made for."""
DEFAULT_SLOTS = 8
LONGEST_BY_DEFAULT = 32_768
"""Tokens: a CPU reads a longer prompt for many minutes."""
STATE_SPACE_GIB = 4
"""KV cache of models that keep a state, whose need on CPUs is not known."""
MAX_NUM_BATCHED_TOKENS = 2048
"""vLLM's default on CPUs, for each process."""
QUANTIZATIONS = ("none", "awq", "gptq", "int8")
"""What vLLM serves on x86 CPUs."""
SERVER_BYTES = 2 * GIB
"""API server and scheduler: 1.4 GiB seen with vLLM 0.32."""
WORKER_BYTES = 3 * GIB // 2
"""A process that computes, without weights and KV cache: 0.9 GiB seen, and room for activations."""


@dataclass(frozen=True)
class CpuSizing:
    """How a replica is served on CPUs."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    kv_cache_space_gib: int
    """``VLLM_CPU_KVCACHE_SPACE``: of each process."""
    block_size: int
    """Tokens of a block."""
    omp_threads_bind: str
    """``VLLM_CPU_OMP_THREADS_BIND``."""
    max_model_len: int
    """Tokens of the longest request."""
    max_num_seqs: int
    """Requests answered at the same time."""
    kv_cache_tokens: int
    """Tokens of the KV cache; 0 where that is not known."""
    concurrent_users: int
    """Requests of the declared context that are answered at once."""
    memory_bytes: int
    """What the container may take, in whole GiB."""


def size_on_cpu(claim: Claim) -> CpuSizing:
    """How a model is served on CPUs; see cpu_problems for what cannot be."""
    tp, pp = _split(claim)
    slots, longest = claim.slots or DEFAULT_SLOTS, _longest(claim)
    layouts = _layouts(claim)
    space = claim.engine.cpu_kvcache_space or _space_gib(claim, layouts, slots, longest)
    blocks = [layout.blocks(space * GIB) for layout in layouts]
    if layouts and claim.max_model_len is None:
        fits = (each.longest_request(count) for each, count in zip(layouts, blocks, strict=True))
        longest = min(longest, *fits)
    context = min(claim.context_tokens, longest)
    at_once = [
        layout.requests(count, context, slots)
        for layout, count in zip(layouts, blocks, strict=True)
    ]
    return CpuSizing(
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        kv_cache_space_gib=space,
        block_size=_block_size(claim),
        omp_threads_bind=claim.engine.cpu_omp_threads_bind
        or ("auto" if tp * pp == claim.engine.nnodes else "nobind"),
        max_model_len=longest,
        max_num_seqs=slots,
        kv_cache_tokens=min(
            (each.tokens(count) for each, count in zip(layouts, blocks, strict=True)), default=0
        ),
        concurrent_users=min([slots, *at_once]),
        memory_bytes=_memory_bytes(claim, tp * pp // claim.engine.nnodes, space),
    )


def cpu_problems(claim: Claim) -> Iterator[Problem]:
    """Why a model cannot be served by vLLM on CPUs as declared."""
    declared, engine, path = claim.declared, claim.engine, engine_path(claim)
    assert declared is not None  # noqa: S101 - of vLLM's models, sizing knows all
    method = claim.quantization or declared.architecture.quantization.method
    if method not in QUANTIZATIONS:
        found = f"{method!r} weights of {claim.name}: vLLM does not serve them on CPUs"
        fix = "declare gpus of a host, other weights, or engine kind llama_cpp or ollama"
        yield Problem(f"{claim.path}.quantization", found, ", ".join(QUANTIZATIONS), fix)
    if "gpu_memory_utilization" in engine.model_fields_set:
        found = f"{claim.name} runs on CPUs: no host has GPUs"
        fix = "declare cpu_kvcache_space, or gpus of a host"
        yield Problem(f"{path}.gpu_memory_utilization", found, "models on GPUs", fix)
    tp, pp = _split(claim)
    if pp > 1 and engine.enforce_eager:
        # the buffers between the stages are made while it compiles, which is left out then
        found = f"{claim.name} in {pp} stages: vLLM 0.32 fails at the first request on CPUs then"
        fix = (
            "remove enforce_eager; where the image has no compiler, declare"
            " extra_args=('--compilation-config', '{\"backend\": \"eager\"}')"
        )
        yield Problem(f"{path}.enforce_eager", found, "enforce_eager with one stage", fix)
    bind = engine.cpu_omp_threads_bind or "auto"
    parts = bind.count("|") + 1
    if bind not in {"auto", "nobind"} and parts != tp * pp:
        found = f"lists of cores: {parts}; processes of {claim.name}: {tp * pp} ({tp} x {pp})"
        allowed = f"{tp * pp} with '|' between, 'auto' or 'nobind'"
        yield Problem(f"{path}.cpu_omp_threads_bind", found, allowed)
    yield from _memory_problems(claim, path)


def _memory_problems(claim: Claim, path: str) -> Iterator[Problem]:
    layouts, sizing, limit = _layouts(claim), size_on_cpu(claim), claim.engine.memory_limit
    space = sizing.kv_cache_space_gib
    needed = _space_gib(claim, layouts, 1, sizing.max_model_len)
    if layouts and needed > space:
        length = sizing.max_model_len
        found = f"{space} GiB, too little for a request of {length} tokens of {claim.name}"
        fix = "raise it, or declare a shorter max_model_len"
        yield Problem(f"{path}.cpu_kvcache_space", found, f"at least {needed}", fix)
    if limit and limit < sizing.memory_bytes:
        workers = sizing.tensor_parallel_size * sizing.pipeline_parallel_size
        found = (
            f"{limit / GIB:.1f} GiB for {claim.name}: {_weights_bytes(claim) / GIB:.1f} GiB of"
            f" weights, {workers} x {space} GiB of KV cache, and"
            f" {(SERVER_BYTES + workers * WORKER_BYTES) / GIB:.1f} GiB of vLLM itself"
        )
        fix = "raise it, or declare a smaller cpu_kvcache_space"
        least = f"at least {sizing.memory_bytes // GIB}GiB"
        yield Problem(f"{path}.memory_limit", found, least, fix)


def _split(claim: Claim) -> tuple[int, int]:
    engine = claim.engine
    return engine.tensor_parallel_size or 1, engine.pipeline_parallel_size or engine.nnodes


def _longest(claim: Claim) -> int:
    declared = claim.declared
    limit = declared.architecture.max_position_embeddings if declared else LONGEST_BY_DEFAULT
    return claim.max_model_len or min(limit, LONGEST_BY_DEFAULT)


def _block_size(claim: Claim) -> int:
    declared = claim.declared
    default = MLA_BLOCK_SIZE if declared and declared.architecture.mla else DEFAULT_BLOCK_SIZE
    return claim.engine.block_size or default


def _layouts(claim: Claim) -> list[KvLayout]:
    """The KV cache of a process of each stage; none of models that keep a state."""
    declared = claim.declared
    if declared is None or declared.architecture.state is not None:
        return []
    model, (tp, pp) = declared.architecture, _split(claim)
    batched = claim.engine.max_num_batched_tokens or MAX_NUM_BATCHED_TOKENS * tp * pp
    kv_dtype = "fp8" if claim.engine.kv_cache_dtype == "fp8" else _dtype(claim, model)
    block = _block_size(claim)
    layouts = (
        kv_layout(model, layers, KvSettings(tp, kv_dtype, batched))
        for layers in stage_layers(len(model.layers), pp)
    )
    return [
        replace(each, page_bytes=each.page_bytes // BLOCK_TOKENS * block, block_tokens=block)
        for each in layouts
    ]


def _dtype(claim: Claim, model: Architecture) -> str:
    """What is not quantised: as published, but 32 bits become 16 unless they are declared."""
    if claim.engine.dtype != "auto":
        return claim.engine.dtype
    return "bfloat16" if model.dtype == "float32" else model.dtype


def _space_gib(claim: Claim, layouts: list[KvLayout], requests: int, longest: int) -> int:
    """Whole GiB of each process that hold the longest request, and so many usual ones."""
    context = min(claim.context_tokens, longest)
    needs = [
        max(requests * each.request_blocks(context), each.request_blocks(longest))
        * each.block_bytes
        for each in layouts
    ]
    # encoders keep nothing, but 0 is read as not set
    return max((max(-(-need // GIB), 1) for need in needs), default=STATE_SPACE_GIB)


def _weights_bytes(claim: Claim) -> int:
    declared = claim.declared
    assert declared is not None  # noqa: S101 - of vLLM's models, sizing knows all
    known_gib = claim.model.weights_gib or declared.weights_gib
    if known_gib:
        return int(known_gib * GIB)
    model = declared.architecture
    precision = Precision(_dtype(claim, model), model.quantization)
    return file_bytes(model, precision)


def _memory_bytes(claim: Claim, workers: int, space_gib: int) -> int:
    own = SERVER_BYTES + workers * (WORKER_BYTES + space_gib * GIB)
    return -(-(_weights_bytes(claim) + own) // GIB) * GIB
