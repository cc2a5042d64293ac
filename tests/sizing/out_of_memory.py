"""Published reports of start-ups that ended out of memory, apart from the logs we calibrate on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.sizing import Sizing, SizingRequest, find_devices, size_model
from tests.sizing import configs as c


@dataclass(frozen=True)
class Report:
    """One report; ``assumed`` is what it leaves open."""

    source: str
    config: c.Config
    gpus: str
    tp: int
    utilization: float
    max_model_len: int
    version: str
    assumed: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def size(self) -> Sizing:
        """Size what was tried."""
        return size_model(
            SizingRequest(
                model=read_architecture(self.config),
                devices=find_devices(self.gpus, load_catalog()),
                tensor_parallel_size=self.tp,
                gpu_memory_utilization=self.utilization,
                max_model_len=self.max_model_len,
                engine_version=self.version,
                **self.more,
            )
        )


QWEN3_CODER_30B = {**c.QWEN3_30B_A3B, "max_position_embeddings": 262144}
QWEN1_5_7B_GPTQ = c.config(
    "qwen2",
    "32 4096 32 32 11008 151936 32768",
    quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128},
)
DEEPSEEK_CODER_6_7B = c.config(
    "llama",
    "32 4096 32 32 11008 32256 16384",
    rope_scaling={"type": "linear", "factor": 4.0},
)
QWEN2_5_VL_72B = {
    "model_type": "qwen2_5_vl",
    "text_config": c.config("qwen2_5_vl_text", "80 8192 64 8 29568 152064 128000"),
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "patch_size": 14,
    },
}
REPORTS = (
    Report("vllm #23278", c.GPT_OSS_120B, "1x h100", 1, 0.9, 131072, "0.10.1"),
    Report(
        "vllm #27508",
        c.GPT_OSS_120B,
        "1x h100",
        1,
        0.95,
        131072,
        "0.11.0",
        more={"max_num_batched_tokens": 1024},
    ),
    Report(
        "vllm #33155",
        c.GPT_OSS_120B,
        "1x h100",
        1,
        0.9,
        131072,
        "0.14.1",
        "utilization and length",
        {"max_num_batched_tokens": 5120},
    ),
    Report(
        "r/LocalLLaMA 1rmeozj",
        {**QWEN3_CODER_30B, **c.AWQ},
        "1x rtx-5090",
        1,
        0.9,
        131072,
        "0.15",
        "utilization and version",
    ),
    Report(
        "e3 model-size frontier",
        {**c.QWEN2_32B, **c.AWQ},
        "1x rtx-4090",
        1,
        0.9,
        4096,
        "0.24",
        "the card (24 GB)",
    ),
    Report("saiyam-pathak two-gpu post", c.QWEN3_32B, "1x rtx-pro-6000", 1, 0.426, 32768, "0.27.1"),
    Report("QwenLM Qwen3#16", QWEN1_5_7B_GPTQ, "1x rtx-3090", 1, 0.9, 32768, "0.6"),
    Report("vllm #10517 (comment)", c.LLAMA_8B, "1x rtx-3090", 1, 0.9, 29000, "0.6"),
    Report(
        "vllm #16570",
        QWEN2_5_VL_72B,
        "4x a100-40",
        4,
        0.95,
        8192,
        "0.7",
        "the length, and that V0 ran (0.8.3)",
    ),
    Report(
        "Modal L40S note",
        c.QWEN3_6_27B,
        "1x l40s",
        1,
        0.86,
        131072,
        "0.26",
        more={"quantization": "fp8"},
    ),
    Report("vllm #5248", DEEPSEEK_CODER_6_7B, "2x t4", 2, 0.9, 16384, "0.4"),
)
