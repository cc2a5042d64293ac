"""More published reports of start-ups that ended out of memory or with too short a cache."""

from __future__ import annotations

from deploy.catalog import load_catalog
from deploy.sizing.speculation import Speculation
from tests.sizing import configs as c
from tests.sizing.out_of_memory import Report

MODELS = load_catalog().models
QWEN1_5_7B = c.config("qwen2", "32 4096 32 32 11008 151936 32768")
QWEN1_5_14B = c.config("qwen2", "40 5120 40 40 13696 152064 32768")
QWEN1_5_72B = c.config("qwen2", "80 8192 64 64 24576 152064 32768")
LLAMA_2_70B_AWQ = {**c.config("llama", "80 8192 64 8 28672 32000 4096"), **c.AWQ}
DEEPSEEK_CODER_33B = c.config(
    "llama",
    "62 7168 56 8 19200 32256 16384",
    rope_scaling={"type": "linear", "factor": 4.0},
)
GEMMA_7B = c.config(
    "gemma", "28 3072 16 16 24576 256000 8192", head_dim=256, tie_word_embeddings=True
)
QWEN2_5_VL_3B = {
    "model_type": "qwen2_5_vl",
    "text_config": c.config(
        "qwen2_5_vl_text", "36 2048 16 2 11008 151936 128000", tie_word_embeddings=True
    ),
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "patch_size": 14,
    },
}
QWEN3_CODER_30B_FP8 = {**MODELS["qwen3-coder-30b-a3b"].config, **c.FP8}
FP8 = {"quantization": "fp8"}
NVFP4 = {"quantization": "nvfp4", "kv_cache_dtype": "fp8", "weights_gib": 24.57}

RECIPE = {"speculation": Speculation("mtp", 3), "max_num_seqs": 1024}
STATE_BLOCKS = (
    Report(
        "recipes #831, FP8",
        MODELS["qwen3.8-27b"].config,
        "1x rtx-pro-6000",
        1,
        0.92,
        262144,
        "0.27",
        more={**FP8, **RECIPE},
    ),
    Report(
        "recipes #831, NVFP4",
        MODELS["qwen3.8-27b"].config,
        "1x rtx-pro-6000",
        1,
        0.92,
        262144,
        "0.27",
        more={"quantization": "nvfp4", "weights_gib": 24.57, **RECIPE},
    ),
    Report(
        "recipes #831",
        MODELS["qwen3.8-27b"].config,
        "1x rtx-pro-6000",
        1,
        0.95,
        262144,
        "0.27",
        more=RECIPE,
    ),
    Report(
        "recipes #551",
        MODELS["qwen3.6-27b"].config,
        "1x h100",
        1,
        0.95,
        262144,
        "0.22",
        "version",
        more={**FP8, "max_num_seqs": 1024},
    ),
    Report(
        "vllm #49064",
        MODELS["qwen3.8-27b"].config,
        "1x h100",
        1,
        0.9,
        132000,
        "0.28",
        "4-bit weights, by its 969 blocks",
        more={"quantization": "awq", "weights_gib": 20.0, "max_num_seqs": 1024},
    ),
)
"""More requests than blocks for states: before these reports were found, each was called "yes"."""
EXPERT_RANKS = tuple(
    Report(
        f"recipes #12, {share}",
        MODELS["qwen3-coder-480b-a35b"].config,
        "8x h200",
        1,
        share,
        262144,
        "0.10",
        "H20 of 141 GB",
        {"data_parallel_size": 8, "enable_expert_parallel": True, "quantization": "fp8"},
    )
    for share in (0.9, 0.95)
)

LATER = (
    Report("QwenLM Qwen3#12", QWEN1_5_14B, "1x v100-32", 1, 0.95, 32768, "0.3"),
    Report("QwenLM Qwen3#295", QWEN1_5_7B, "1x rtx-3090", 1, 0.9, 32768, "0.4", "the card (24 GB)"),
    Report(
        "QwenLM Qwen3#16 (comment)",
        QWEN1_5_72B,
        "2x a100-80",
        2,
        0.9,
        32768,
        "0.3",
        "the A100 of 80 GB",
    ),
    Report(
        "xusenlinzy api-for-open-llm#259",
        QWEN1_5_14B,
        "1x a6000",
        1,
        0.9,
        32768,
        "0.4",
        "the card (48 GB, by its 15248 tokens)",
    ),
    Report("imoneoi openchat#198", GEMMA_7B, "1x rtx-4090", 1, 0.9, 8000, "0.3", "version"),
    Report("SubgraphRAG#19", c.LLAMA_8B, "1x rtx-3090", 1, 0.9, 131072, "0.6", "version"),
    Report("vllm #2248", LLAMA_2_70B_AWQ, "4x a10", 4, 0.9, 4096, "0.2.5"),
    Report("vllm #4429", DEEPSEEK_CODER_33B, "2x l40s", 2, 0.9, 16384, "0.4.1", "L40, not S"),
    Report("vllm #17462", c.QWEN3_32B, "2x l40s", 2, 0.9, 16384, "0.8.5", "L20, as large"),
    Report(
        "vllm #17469", c.QWEN3_30B_A3B, "4x a10", 4, 0.9, 1024, "0.8.5", more={"max_num_seqs": 1}
    ),
    Report(
        "vllm #16118",
        MODELS["llama-4-scout"].config,
        "8x h100",
        8,
        0.9,
        1048576,
        "0.8.3",
        "the card",
    ),
    Report("vllm #18124", QWEN2_5_VL_3B, "1x a100-80", 1, 0.3, 128000, "0.8.5"),
    Report("vllm #18446", MODELS["qwen3-235b-a22b"].config, "8x a100-80", 8, 0.9, 40960, "0.8.5"),
    Report(
        "vllm #34076",
        QWEN3_CODER_30B_FP8,
        "1x rtx-5070-ti, 1x rtx-5090",
        1,
        0.9,
        262144,
        "0.15",
        more={"pipeline_parallel_size": 2},
    ),
    Report(
        "vllm #41695, Qwen3-Coder-30B",
        QWEN3_CODER_30B_FP8,
        "1x rtx-5090",
        1,
        0.95,
        16384,
        "0.20",
        "version",
    ),
    Report(
        "vllm #41695, Qwen3.5-35B",
        MODELS["qwen3.5-35b-a3b"].config,
        "1x rtx-5090",
        1,
        0.95,
        16384,
        "0.20",
        "version",
    ),
    Report(
        "vllm #41695, Qwen3.6-27B",
        MODELS["qwen3.6-27b"].config,
        "1x rtx-5090",
        1,
        0.95,
        16384,
        "0.20",
        "version",
        FP8,
    ),
    Report(
        "vllm recipes, Qwen3.8-27B",
        MODELS["qwen3.8-27b"].config,
        "1x rtx-5090",
        1,
        0.93,
        32768,
        "0.26",
        more=NVFP4,
    ),
    *STATE_BLOCKS,
    *EXPERT_RANKS,
)
