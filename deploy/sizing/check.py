"""Requests that cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.decoder_sizes import DTYPES
from deploy.errors import PlanError, Problem, either
from deploy.sizing.request import SizingRequest
from deploy.sizing.speculation import DRAFTED_WITH, METHODS, Speculation
from deploy.sizing.trade_offs import owners
from deploy.spec.engine_kinds import ENGINES

MOST_DRAFTED = 64
MOST_LORAS = 1024
GGUF_CACHES = ("auto", "fp8", "f16", "q8_0", "q4_0")
"""KV caches of llama.cpp and Ollama; fp8 is their q8_0."""

COUNTS = {
    "tensor_parallel_size": 1024,
    "pipeline_parallel_size": 1024,
    "data_parallel_size": 1024,
    "max_model_len": 10**8,
    "users": 10**6,
    "context_tokens": 10**8,
    "max_num_seqs": 10**6,
    "max_num_batched_tokens": 10**8,
    "lora_rank": 1024,
}
"""Settings that are whole numbers from 1, and how far they go."""
SAID = {
    "lora_slots": "max_loras",
    "lora_rank": "max_lora_rank",
    "speculation": "speculative_config",
    "speculation.tokens": "speculative_config.num_speculative_tokens",
    "speculation.method": "speculative_config.method",
    "speculation.acceptance": "speculative_config.acceptance",
    "speculation.draft": "speculative_config.model",
}
"""What operators call settings that have another name here."""


def check_request(request: SizingRequest) -> None:
    """Refuse values out of bounds.

    Raises:
        PlanError: with one problem per value.
    """
    problems = [replace(each, path=SAID.get(each.path, each.path)) for each in _problems(request)]
    if problems:
        raise PlanError(*problems)


def _problems(request: SizingRequest) -> Iterator[Problem]:
    if not request.devices:
        yield Problem("gpus", "none", "at least one GPU")
    for name, most in COUNTS.items():
        value = getattr(request, name)
        if value is not None and not 1 <= value <= most:
            yield Problem(name, str(value), f"a whole number from 1 to {most}")
    utilization = request.gpu_memory_utilization
    if not (math.isfinite(utilization) and 0.01 <= utilization <= 1):
        yield Problem("gpu_memory_utilization", str(utilization), "a share from 0.01 to 1")
    weights = request.weights_gib
    if weights is not None and not (math.isfinite(weights) and 0 < weights <= 10**5):
        yield Problem("weights_gib", str(weights), "more than 0, at most 100000")
    yield from _engine_problems(request)
    yield from _speed_problems(request)
    yield from _speculation_problems(request.speculation)
    dtypes = ("auto", "fp8") if ENGINES[request.engine].shares_cache else GGUF_CACHES
    if request.kv_cache_dtype not in dtypes:
        yield Problem("kv_cache_dtype", repr(request.kv_cache_dtype), ", ".join(dtypes))
    if request.dtype is not None and request.dtype not in DTYPES:
        yield Problem("dtype", repr(request.dtype), ", ".join(DTYPES))


def _engine_problems(request: SizingRequest) -> Iterator[Problem]:
    """What only some engines are sized with."""
    parts, count = request.tensor_split, len(request.devices)
    if parts and len(parts) != count:
        yield Problem("tensor_split", f"{len(parts)} parts", f"{count}, one for each GPU")
    engine, drafts = ENGINES[request.engine], request.speculation
    if drafts and not engine.shares_cache and drafts.method not in engine.drafts:
        allowed = ", ".join(engine.drafts) or "with engine llama-cpp or vllm"
        yield Problem("speculation", f"{drafts.method} with {engine.title}", allowed)
    if request.engine == "vllm" or not ENGINES[request.engine].shares_cache:
        return
    title = ENGINES[request.engine].title
    for name in ("speculation", "lora_slots", "language_model_only", "enable_prefix_caching"):
        if getattr(request, name):
            yield Problem(name, f"not sized for {title}", "with engine vllm")
    if request.data_parallel_size > 1:
        yield Problem("data_parallel_size", f"not sized for {title}", "with engine vllm")
    if ENGINES[request.engine].reserves:
        yield from _reserving_problems(request)


def _reserving_problems(request: SizingRequest) -> Iterator[Problem]:
    """What TGI and TensorRT-LLM do not have, or are not deployed with."""
    engine = ENGINES[request.engine]
    title = engine.title
    if (request.pipeline_parallel_size or 1) > 1 and not engine.has_pipelines:
        found = str(request.pipeline_parallel_size)
        yield Problem("pipeline_parallel_size", found, f"1 with {title}")
    if request.enable_expert_parallel and request.engine not in owners("enable_expert_parallel"):
        allowed = f"only with engine {either(owners('enable_expert_parallel'))}"
        yield Problem("enable_expert_parallel", f"{title} has none", allowed)
    if request.gpu_memory_utilization > engine.most_of_card:
        found = f"{request.gpu_memory_utilization:g}"
        allowed = f"at most {engine.most_of_card:g}: {title} leaves the rest to CUDA graphs"
        yield Problem("gpu_memory_utilization", found, allowed)
    if request.engine == "tensorrt_llm" and request.dtype is not None:
        yield Problem("dtype", f"{title} takes the model's own", "with engine vllm or sglang")


def _speculation_problems(speculation: Speculation | None) -> Iterator[Problem]:
    if speculation is None:
        return
    method, tokens = speculation.method, speculation.tokens
    if method not in METHODS:
        yield Problem("speculation.method", repr(method), ", ".join(METHODS))
    if not 1 <= tokens <= MOST_DRAFTED:
        allowed = f"a whole number from 1 to {MOST_DRAFTED}"
        yield Problem("speculation.tokens", str(tokens), allowed)
    accepted = speculation.acceptance
    if accepted is not None and not (math.isfinite(accepted) and 0 <= accepted <= 1):
        yield Problem("speculation.acceptance", str(accepted), "a share from 0 to 1")
    if (method in DRAFTED_WITH) != (speculation.draft is not None):
        found = "none" if speculation.draft is None else "one"
        allowed = f"one with {' or '.join(DRAFTED_WITH)}, else none"
        yield Problem("speculation.draft", found, allowed)


def _speed_problems(request: SizingRequest) -> Iterator[Problem]:
    if not 0 <= request.lora_slots <= MOST_LORAS:
        yield Problem("lora_slots", str(request.lora_slots), f"a whole number up to {MOST_LORAS}")
    if not (math.isfinite(request.prompt_per_output) and 0 <= request.prompt_per_output <= 10**6):
        yield Problem("prompt_per_output", str(request.prompt_per_output), "from 0 to 1000000")
    if not (math.isfinite(request.pace) and 0 < request.pace <= 10**4):
        yield Problem("pace", str(request.pace), "more than 0, at most 10000 tokens a second")
