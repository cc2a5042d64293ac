"""Published speeds against which the estimate is checked."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.sizing import SizingRequest, find_devices, size_gguf, size_model
from tests.sizing import configs as c

CATALOG = load_catalog()
MODELS = CATALOG.models
QWEN2_72B = {**c.QWEN2_72B, "max_position_embeddings": 32768}
MISTRAL_7B = c.config("mistral", "32 4096 32 8 14336 32768 32768")


@dataclass(frozen=True)
class Speed:
    """Tokens a second of each of so many requests."""

    source: str
    model: str
    config: c.Config
    gpus: str
    users: int
    context_tokens: int
    published: float
    prompt_per_output: float = 0.0
    """Where the figure counts the time of prompts too."""
    quantization: str | None = None
    engine: str = "vllm"

    @property
    def kind(self) -> str:
        """What the error is stated for."""
        if read_architecture(self.config).moe:
            return "experts"
        return "one user" if self.users == 1 else "many users"

    @property
    def ours(self) -> float:
        """The estimate."""
        devices = find_devices(self.gpus, CATALOG)
        request = SizingRequest(
            read_architecture(self.config),
            devices,
            tensor_parallel_size=len(devices) if self.engine == "vllm" else None,
            gpu_memory_utilization=0.95,
            users=self.users,
            context_tokens=self.context_tokens,
            quantization=self.quantization,
            prompt_per_output=self.prompt_per_output,
        )
        work_out = size_model if self.engine == "vllm" else size_gguf
        return work_out(request).tokens_per_second_per_user

    @property
    def error(self) -> float:
        """Ours over theirs, less 1."""
        return self.ours / self.published - 1


TENSTORRENT = "tenstorrent/tt-inference-server"
QWEN_30B = MODELS["qwen3-30b-a3b"].config
GPT_OSS = MODELS["gpt-oss-120b"].config
QWEN_27B, QWEN_35B = MODELS["qwen3.6-27b"].config, MODELS["qwen3.6-35b-a3b"].config
GPT_OSS_H100 = ((4, 3.72), (8, 4.05), (16, 4.83), (32, 5.82), (64, 7.36))
MISTRAL_4090 = ((4, 210), (8, 377), (16, 644), (32, 975))
SPEEDS = (
    Speed(f"{TENSTORRENT}#143", "Qwen2.5-72B", QWEN2_72B, "2x h100", 1, 1152, 1000 / 31.0),
    Speed(f"{TENSTORRENT}#143", "Qwen2.5-72B", QWEN2_72B, "2x h100", 1, 8320, 31.92),
    Speed(f"{TENSTORRENT}#340", "Qwen3-0.6B", c.QWEN3_0_6B, "1x a100-80", 1, 256, 238.09),
    Speed(f"{TENSTORRENT}#340", "Qwen3-30B-A3B", QWEN_30B, "1x a100-80", 1, 256, 103.92),
    Speed(f"{TENSTORRENT}#340", "Qwen3-30B-A3B", QWEN_30B, "1x a100-80", 1, 8320, 93.94),
    *(
        Speed("InferenceX#828", "gpt-oss-120b", GPT_OSS, "8x h100", users, 1536, 1000 / ms, 1.0)
        for users, ms in GPT_OSS_H100
    ),
    *(
        Speed(
            "mushfiqrahman.dev, Mistral-7B on a 4090",
            "Mistral-7B",
            MISTRAL_7B,
            "1x rtx-4090",
            users,
            320,
            together / users,
            2.0,
        )
        for users, together in MISTRAL_4090
    ),
    Speed("vllm #17788", "Qwen3-32B", c.QWEN3_32B, "1x h100-nvl", 32, 320, 653.61 / 32, 1.08),
    Speed(
        "sudoingX/qwen38-mtp#42",
        "Qwen3.8-27B Q4_K_M",
        QWEN_27B,
        "1x rtx-3090",
        1,
        2000,
        31.9,
        0.0,
        "q4_k_m",
        "ollama",
    ),
    Speed(
        "sudoingX/qwen38-mtp#68",
        "Qwen3.8-27B Q4_K_XL",
        QWEN_27B,
        "1x rtx-5090",
        1,
        2000,
        71.9,
        0.0,
        "q4_k_m",
        "ollama",
    ),
)


def table() -> str:
    """The table of docs/sizing.md."""
    head = (
        "| model, GPUs | users | published | ours | error | source |\n|---|---|---|---|---|---|\n"
    )
    rows = (
        f"| {s.model}, {s.gpus} | {s.users} | {s.published:.1f} | {s.ours:.1f} | {s.error:+.0%} |"
        f" {s.source} |"
        for s in SPEEDS
    )
    return head + "\n".join(rows)
