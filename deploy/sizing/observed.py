"""What a start-up log says of memory, next to what was estimated.

Understood are the lines of vLLM since 0.4, of SGLang and of llama.cpp; of several GPUs or starts
the last value counts, of llama.cpp's GPUs the sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.sizing.request import Sizing

BLOCK_TOKENS = 16
"""Tokens of one of vLLM's blocks, where its log counts blocks."""
NUMBER = r"([\d,]+(?:\.\d+)?)"
VLLM_LINES = {
    "weights": rf"(?:[Mm]odel loading took|[Ll]oading model weights took) {NUMBER} ?Gi?B",
    "kv_cache": rf"(?:Available KV cache memory: |kv_cache_size=|reserved for KV Cache is ){NUMBER}"
    r" ?GiB",
    "tokens": rf"GPU KV cache size: {NUMBER} tokens",
    "blocks": rf"# (?:GPU|cuda) blocks: {NUMBER}",
    "graphs": rf"Graph capturing finished in .*took {NUMBER} GiB",
}
SGLANG_LINES = {
    "weights": rf"Load weight end\..* mem usage={NUMBER} GB",
    "tokens": rf"\bmax_total_num_tokens={NUMBER}",
}
LLAMA_LINES = {
    "weights": rf"(?:CUDA|ROCm|Metal|Vulkan)\d* +model buffer size = +{NUMBER} MiB",
    "kv_cache": rf"(?:CUDA|ROCm|Metal|Vulkan)\d* +KV buffer size = +{NUMBER} MiB",
    "compute": rf"(?:CUDA|ROCm|Metal|Vulkan)\d* +compute buffer size = +{NUMBER} MiB",
}


@dataclass(frozen=True)
class Difference:
    """One figure of a log and ours."""

    what: str
    unit: str
    """``GiB`` (vLLM, SGLang: of each GPU; llama.cpp: of all) or ``tokens``."""
    estimated: float
    observed: float

    @property
    def error(self) -> float | None:
        """The estimate over what was observed, less 1; ``None`` where nothing was observed."""
        return self.estimated / self.observed - 1 if self.observed else None


def compare(sizing: Sizing, log: str) -> tuple[Difference, ...]:
    """Every figure that the log has, next to the estimate; none where nothing is understood."""
    readers = {"llama_cpp": _llama, "ollama": _llama, "sglang": _sglang}
    return tuple(readers.get(sizing.engine, _vllm)(sizing, log))


def _sglang(sizing: Sizing, log: str) -> Iterator[Difference]:
    """Its memory is in GiB, whatever it calls them."""
    seen = {name: _values(pattern, log) for name, pattern in SGLANG_LINES.items()}
    if seen["weights"]:
        yield Difference("weights", "GiB", sizing.weights_gib_per_gpu, seen["weights"][-1])
    if seen["tokens"]:
        yield Difference("KV cache", "tokens", sizing.kv_cache_tokens, seen["tokens"][-1])


def _vllm(sizing: Sizing, log: str) -> Iterator[Difference]:
    seen = {name: _values(pattern, log) for name, pattern in VLLM_LINES.items()}
    if seen["weights"]:
        yield Difference("weights", "GiB", sizing.weights_gib_per_gpu, seen["weights"][-1])
    if seen["kv_cache"]:
        yield Difference("KV cache", "GiB", sizing.kv_cache_gib_per_gpu, seen["kv_cache"][-1])
    tokens = seen["tokens"] or [blocks * BLOCK_TOKENS for blocks in seen["blocks"]]
    if tokens:
        yield Difference("KV cache", "tokens", sizing.kv_cache_tokens, tokens[-1])
    if seen["graphs"]:
        ours = sizing.overhead.cuda_graphs_gib or sizing.overhead.outside_gib
        yield Difference("CUDA graphs", "GiB", ours, seen["graphs"][-1])


def _llama(sizing: Sizing, log: str) -> Iterator[Difference]:
    seen = {name: sum(_values(pattern, log)) / 1024 for name, pattern in LLAMA_LINES.items()}
    gpus = sizing.pipeline_parallel_size
    ours = {
        "weights": sizing.weights_gib_per_gpu * gpus,
        "kv_cache": sizing.kv_cache_gib_per_gpu * gpus,
        "compute": sizing.overhead.activation_gib,
    }
    for name, title in (("weights", "weights"), ("kv_cache", "KV cache"), ("compute", "compute")):
        if seen[name]:
            yield Difference(title, "GiB", ours[name], seen[name])


def _values(pattern: str, log: str) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(pattern, log)]


def difference_text(difference: Difference) -> str:
    """One line of it for people."""
    digits = 0 if difference.unit == "tokens" else 2
    error = "" if difference.error is None else f" ({difference.error:+.1%})"
    return (
        f"{difference.what}: estimated {difference.estimated:,.{digits}f}, observed"
        f" {difference.observed:,.{digits}f} {difference.unit}{error}"
    )
