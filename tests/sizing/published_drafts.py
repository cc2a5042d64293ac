"""Start-ups with speculative decoding, images, experts over ranks; found after the model was made.

``blind`` is the error of the KV cache before anything was changed for them: that version knew no
drafts, no encoders of images and no data parallelism. Where the source names the size of the
weights, it is given; else every linear layer is counted in the declared precision.
Sources: noonghunna/club-3090 (issues and BENCHMARKS.md), vllm-project/recipes, vllm-project/vllm.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from deploy.catalog import load_catalog
from deploy.sizing import Sizing, SizingRequest, find_devices, find_model, size_model
from deploy.sizing.size import SAME_SIZE
from deploy.sizing.speculation import Speculation

MTP3 = {"speculation": Speculation("mtp", 3)}
PREFIXES = {"enable_prefix_caching": True}
SMALL = {"max_num_seqs": 2, "max_num_batched_tokens": 8192}
ONE = {"max_num_seqs": 1, "max_num_batched_tokens": 8192}


@dataclass(frozen=True)
class Started:
    """One start-up log."""

    source: str
    model: str
    quantization: str
    gpus: str
    utilization: float
    version: str
    max_model_len: int
    kv_gib: float
    """Of one GPU; 0 where only tokens are published."""
    tokens: int
    """0 where only GiB are published."""
    blind: str
    """Error before: of the tokens, else of the GiB."""
    more: dict[str, Any] = field(default_factory=dict)
    assumed: str = ""
    """What the source leaves open."""
    usable_gib: float = 0.0
    """Memory of a GPU, where it is not the catalogue's."""

    def size(self) -> Sizing:
        """Size it."""
        catalog = load_catalog()
        found = find_model(self.model, catalog, self.quantization)
        devices = find_devices(self.gpus, catalog)
        if self.usable_gib:
            devices = tuple(replace(device, usable_gib=self.usable_gib) for device in devices)
        settings = {"weights_gib": found.weights_gib, **self.more}
        cache = settings.pop("kv_cache_dtype", "auto")
        return size_model(
            SizingRequest(
                model=found.architecture,
                devices=devices,
                quantization=self.quantization,
                engine_version=self.version,
                gpu_memory_utilization=self.utilization,
                max_model_len=self.max_model_len,
                kv_cache_dtype=SAME_SIZE.get(cache, cache),
                **settings,
            )
        )

    def error(self, sizing: Sizing) -> float:
        """By how much our KV cache is off: tokens where they are published, else GiB."""
        if self.tokens:
            return sizing.kv_cache_tokens / self.tokens - 1
        return sizing.kv_cache_gib_per_gpu / self.kv_gib - 1


FP8 = {"kv_cache_dtype": "fp8"}
TWO = {"tensor_parallel_size": 2}
FOUR = {"tensor_parallel_size": 4}
INT4 = {"weights_gib": 17.69, "dtype": "float16"}
"""The files of AutoRound, with the layer for multi-token prediction in 16 bits."""
STARTED = (
    Started("club-3090 #642", "qwen3.6-27b", "awq", "2x rtx-3090", 0.92, "0.24", 262144, 11.05,
        623873, "+21.1%", {**TWO, **FP8, **SMALL, **MTP3, **PREFIXES, **INT4}),
    Started("club-3090 #294", "qwen3.6-27b", "awq", "2x rtx-3090", 0.92, "0.22", 262144, 0,
        622408, "+21.4%",
        {**TWO, "kv_cache_dtype": "fp8_e5m2", **SMALL, **MTP3, **PREFIXES, **INT4}),
    Started("club-3090 #594", "qwen3.6-27b", "fp8", "2x rtx-3090", 0.92, "0.24", 262144, 5.33,
        300220, "+32.3%", {**TWO, **FP8, **SMALL, **MTP3, **PREFIXES}),
    Started("club-3090 #849", "qwen3.6-27b", "nvfp4", "2x rtx-5090", 0.85, "0.25", 262144, 14.68,
        841541, "+23.7%", {**TWO, **FP8, **SMALL, **MTP3}),
    Started("club-3090 #1087", "qwen3.8-27b", "fp8", "2x rtx-5090", 0.92, "0.27", 262144, 12.26,
        0, "+2.5%", {**TWO, **FP8, **SMALL, **MTP3, **PREFIXES}),
    Started("club-3090 #1139", "qwen3.8-27b", "fp8", "2x rtx-3090", 0.92, "0.27", 262144, 4.76,
        270930, "+27.9%", {**TWO, **FP8, **SMALL, **MTP3}),
    Started("club-3090 #612", "qwen3.6-35b-a3b", "nvfp4", "1x rtx-5090", 0.92, "0.24", 131072,
        5.98, 567978, "+33.9%", {**FP8, **ONE, **PREFIXES}),
    Started("club-3090 #652", "qwen3.6-35b-a3b", "nvfp4", "1x rtx-5090", 0.92, "0.24", 131072,
        6.01, 569878, "+33.5%", {**FP8, **ONE, **PREFIXES}),
    Started("club-3090 #851", "qwen3.6-35b-a3b", "awq", "2x rtx-5090", 0.92, "0.25", 262144,
        17.02, 3382054, "+10.5%", {**TWO, **FP8, **ONE, **PREFIXES}),
    Started("club-3090 #858", "qwen3.6-35b-a3b", "nvfp4", "2x rtx-5090", 0.92, "0.25", 262144,
        16.58, 3292687, "+9.5%", {**TWO, **FP8, **ONE, **PREFIXES}),
    Started("club-3090, Gemma TP 4", "gemma-4-31b", "gptq", "4x rtx-3090", 0.91, "0.25", 262144, 0,
        650262, "+5.4%", {**FOUR, "max_num_seqs": 2, "max_num_batched_tokens": 4096},
        "without the drafter, which shares the model's cache"),
    Started("club-3090, Gemma TP 2", "gemma-4-31b", "gptq", "2x rtx-3090", 0.95, "0.22", 131072, 0,
        196527, "+21.9%", {**TWO, "max_num_seqs": 4, "max_num_batched_tokens": 4096},
        "without the drafter, which shares the model's cache"),
    Started("recipes #12, 0.9", "qwen3-coder-480b-a35b", "fp8", "8x h20", 0.9, "0.10", 131072,
        48.66, 0, "declined", {"tensor_parallel_size": 1, "data_parallel_size": 8,
        "enable_expert_parallel": True}, "H20 of 141 GB", 139.8),
    Started("recipes #12, 0.95", "qwen3-coder-480b-a35b", "fp8", "8x h20", 0.95, "0.10", 131072,
        55.65, 0, "declined", {"tensor_parallel_size": 1, "data_parallel_size": 8,
        "enable_expert_parallel": True}, "H20 of 141 GB", 139.8),
    Started("vllm #21348", "qwen3-235b-a22b", "fp8", "4x h100", 0.9, "0.9", 40960, 8.11, 178880,
        "+21.4%", {**FOUR}, "version (July 2025)"),
)  # fmt: skip


def drafts_table() -> str:
    """The table of docs/sizing.md."""
    head = (
        "| model | GPUs (share) | vLLM, source | KV cache, published / ours | error | blind |"
        " assumed |"
    )
    return "\n".join([head, "|---" * 7 + "|", *map(_row, STARTED)])


def _row(started: Started) -> str:
    ours = started.size()
    if started.tokens:
        cache = f"{started.tokens} / {ours.kv_cache_tokens} tokens"
    else:
        cache = f"{started.kv_gib:.2f} / {ours.kv_cache_gib_per_gpu:.2f} GiB"
    drafts = started.more.get("speculation")
    name = f"{started.model} {started.quantization}" + (", MTP" if drafts else "")
    return (
        f"| {name} | {started.gpus} ({started.utilization:g}) | {started.version},"
        f" {started.source} | {cache} | {started.error(ours):+.1%} | {started.blind} |"
        f" {started.assumed} |"
    )
