"""What vLLM logged at start-up on real machines, against what sizing says; see docs/sizing.md."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.sizing import Sizing, SizingRequest, device_of, size_model
from tests.sizing import configs as c

ISSUE = "vllm #15815"
LOG_4080 = "start-up log"
DENNIS = "dennislee22"
LLM_D = "llm-d-planner"
JGCHN = "jgchn"


@dataclass(frozen=True)
class Published:
    """One start-up log."""

    model: str
    config: c.Config
    gpu: str
    tp: int
    pp: int
    utilization: float
    max_model_len: int
    version: str
    usable_gib: float
    weights_gib: float
    kv_cache_gib: float
    kv_cache_tokens: int | None
    source: str
    more: dict[str, Any] = field(default_factory=dict)

    def size(self, version: str | None = None) -> Sizing:
        """Size it, for its own release of vLLM or another."""
        device = replace(
            device_of(self.gpu, load_catalog().gpus[self.gpu]), usable_gib=self.usable_gib
        )
        settings = {"engine_version": version or self.version, **self.more}
        return size_model(
            SizingRequest(
                model=read_architecture(self.config),
                devices=(device,) * (self.tp * self.pp),
                tensor_parallel_size=self.tp,
                pipeline_parallel_size=self.pp,
                gpu_memory_utilization=self.utilization,
                max_model_len=self.max_model_len,
                **settings,
            )
        )

    def error(self, sizing: Sizing) -> float:
        """By how much our KV cache is off: tokens where they are published, else GiB."""
        if self.kv_cache_tokens:
            return sizing.kv_cache_tokens / self.kv_cache_tokens - 1
        return sizing.kv_cache_gib_per_gpu / self.kv_cache_gib - 1


def _h100(
    model: str,
    config: c.Config,
    tp: int,
    pp: int,
    weights: float,
    kv: float,
    tokens: int,
    **more: Any,
) -> Published:
    where = (0.95, 8192, "0.19", 79.19)
    return Published(model, config, "h100", tp, pp, *where, weights, kv, tokens, JGCHN, more)


def _older_h100(model: str, config: c.Config, tp: int, weights: float, kv: float) -> Published:
    where = (0.9, 16000, "0.12", 79.18)
    return Published(model, config, "h100", tp, 1, *where, weights, kv, None, LLM_D)


def _a100(
    model: str,
    config: c.Config,
    tp: int,
    utilization: float,
    kv: float,
    tokens: int,
    weights: float,
) -> Published:
    where = (utilization, 16384, "0.10.1", 79.15)
    return Published(model, config, "a100-80", tp, 1, *where, weights, kv, tokens, DENNIS)


PUBLISHED = (
    Published(
        "Qwen2.5-32B", c.QWEN2_32B, "l40s", 2, 1, 0.9, 10000, "0.7",
        44.42, 30.71, 7.71, 63152, ISSUE,
    ),
    Published(
        "Qwen2.5-7B AWQ", {**c.QWEN2_7B, **c.AWQ}, "rtx-4080", 1, 1, 0.9, 32768, "0.26",
        15.99, 5.29, 8.0, 149712, LOG_4080,
    ),
    Published(
        "Llama-3.1-8B", c.LLAMA_8B, "rtx-3090", 1, 1, 0.9, 20000, "0.6",
        23.58, 14.99, 3.81, 31232, "vllm #10517",
    ),
    Published(
        "Qwen2.5-14B", c.QWEN2_14B, "rtx-4090", 2, 1, 0.98, 131072, "0.7",
        23.55, 13.95, 7.47, 81536, "vllm #13061",
    ),
    _a100("Qwen2-7B", c.QWEN2_7B, 1, 0.25, 5.01, 93872, 14.25),
    _a100("Qwen2-7B", c.QWEN2_7B, 1, 0.5, 24.83, 464848, 14.25),
    _a100("Qwen2-7B", c.QWEN2_7B, 2, 0.25, 12.02, 450192, 7.12),
    _a100("Qwen2-7B", c.QWEN2_7B, 2, 0.5, 31.83, 1192160, 7.12),
    _a100("gpt-oss-120b", c.GPT_OSS_120B, 4, 0.8, 45.32, 2640144, 17.22),
    _older_h100("gpt-oss-20b", c.GPT_OSS_20B, 1, 13.47, 50.28),
    _older_h100("Llama-3.3-70B FP8", {**c.LLAMA_70B, **c.FP8}, 2, 33.88, 32.0),
    _older_h100("Llama-3.1-8B", c.LLAMA_8B, 1, 14.99, 51.38),
    _older_h100("Qwen3-0.6B", c.QWEN3_0_6B, 1, 1.12, 64.45),
    _older_h100("Qwen3-32B", c.QWEN3_32B, 1, 61.03, 4.45),
    _older_h100("Qwen3-32B", c.QWEN3_32B, 2, 30.59, 34.49),
    _h100("CodeLlama-7B", c.CODELLAMA_7B, 1, 1, 12.56, 61.66, 126256),
    _h100("DeepSeek-V2-Lite", c.DEEPSEEK_V2_LITE, 1, 1, 29.43, 43.61, 1505552),
    _h100("Llama-3.3-70B FP8", {**c.LLAMA_70B, **c.FP8}, 2, 1, 33.88, 37.28, 244304),
    _h100("Llama-3.3-70B FP8", {**c.LLAMA_70B, **c.FP8}, 4, 1, 16.96, 54.09, 708992),
    _h100("Qwen2.5-7B FP8", {**c.QWEN2_7B, **c.FP8}, 1, 1, 8.14, 64.64, 1210304),
    _h100("Gemma-2-27B", c.GEMMA2_27B, 1, 1, 50.72, 20.59, 58672),
    _h100("Granite-3.1-8B", c.GRANITE_8B, 1, 1, 15.25, 58.66, 384432),
    _h100("Llama-3.1-8B", c.LLAMA_8B, 1, 1, 14.99, 58.11, 476016),
    _h100("Llama-3.1-8B fp8 KV", c.LLAMA_8B, 1, 1, 14.99, 58.11, 952032, kv_cache_dtype="fp8"),
    _h100("Llama-3.1-8B fp8", c.LLAMA_8B, 1, 1, 8.49, 64.61, 529248, quantization="fp8"),
    _h100("Llama-3.1-8B w4a16", {**c.LLAMA_8B, **c.W4A16}, 1, 1, 5.38, 67.71, 554704),
    _h100("Llama-3.1-8B", c.LLAMA_8B, 1, 2, 7.51, 66.54, 1075312),
    _h100("Llama-3.1-8B", c.LLAMA_8B, 1, 4, 4.26, 69.8, 2257264),
    _h100("Llama-3.1-8B", c.LLAMA_8B, 2, 1, 7.51, 63.76, 1044688),
    _h100("Llama-3.1-8B", c.LLAMA_8B, 4, 1, 3.77, 67.44, 2209792),
    _h100("Phi-4", c.PHI4, 1, 1, 27.39, 46.08, 241568),
    _h100("Mixtral-8x7B", c.MIXTRAL, 2, 1, 43.51, 28.44, 465936),
    _h100("Qwen2.5-72B", c.QWEN2_72B, 2, 1, 67.8, 3.04, 19920),
    _h100("Qwen2.5-7B", c.QWEN2_7B, 1, 1, 14.25, 58.53, 1096000),
    _h100("Qwen2.5-7B", c.QWEN2_7B, 2, 1, 7.12, 63.84, 2390592),
    _h100("Qwen3-30B-A3B", c.QWEN3_30B_A3B, 1, 1, 56.88, 15.41, 168288),
    _h100("Qwen3-8B", c.QWEN3_8B, 1, 1, 15.27, 57.5, 418688),
    _h100("gpt-oss-20b", c.GPT_OSS_20B, 1, 1, 13.64, 58.47, 1277184),
)  # fmt: skip


def table() -> str:
    """The table of docs/sizing.md."""
    lines = [
        "| model | GPUs | TP x PP | vLLM | weights, published / ours (GiB) | KV cache, published"
        " / ours | error | error if the version is not given |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(row, PUBLISHED)])


def row(published: Published) -> str:
    """One row of a table: published against ours."""
    ours, default = published.size(), published.size("0.26")
    weights = f"{published.weights_gib:.2f}" if published.weights_gib else "-"
    count = published.tp * published.pp
    if published.kv_cache_tokens:
        cache = f"{published.kv_cache_tokens} / {ours.kv_cache_tokens} tokens"
    else:
        cache = f"{published.kv_cache_gib:.2f} / {ours.kv_cache_gib_per_gpu:.2f} GiB"
    return (
        f"| {published.model} | {count}x {published.gpu} ({published.utilization:g}) |"
        f" {published.tp} x {published.pp} | {published.version}, {published.source} |"
        f" {weights} / {ours.weights_gib_per_gpu:.2f} | {cache} |"
        f" {published.error(ours):+.1%} | {published.error(default):+.1%} |"
    )
