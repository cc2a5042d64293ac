"""Start-ups on later releases and other cards, and the tables of docs/sizing.md.

``python -m tests.sizing.published_later`` writes the tables into docs/sizing.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.catalog import load_catalog
from tests.sizing import configs as c
from tests.sizing.out_of_memory import REPORTS, Report
from tests.sizing.out_of_memory_later import LATER
from tests.sizing.published import Published, row, table
from tests.sizing.published_drafts import drafts_table
from tests.sizing.published_speed import table as speed_table

BLIND = (
    "These were searched for when all of the above was done, and sized before anything was changed."
    " The column `blind` has the error at that time, +21 % in the median: drafts, encoders of"
    " images and ranks of experts were not counted yet. What was added for them follows vLLM's"
    " code. Of these figures only what NCCL takes for each other GPU was set with them in view."
    " Where the memory agrees, blocks of states and a request's share of them agree exactly."
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "sizing.md"
HEAD = "## Published start-up logs against ours"
FP8_BLOCKS = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
FP8_CHANNELS = {
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
    }
}
QWEN3_14B = c.config("qwen3", "40 5120 40 8 17408 151936 40960", head_dim=128)
QWEN2_5_3B = c.config("qwen2", "36 2048 16 2 11008 151936 32768", tie_word_embeddings=True)
QWEN3_235B = c.config(
    "qwen3_moe",
    "94 4096 64 4 12288 151936 262144",
    head_dim=128,
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=1536,
)
MINIMAX_M2_5 = c.config(
    "minimax_m2",
    "62 3072 48 8 1536 200064 196608",
    head_dim=128,
    num_local_experts=256,
    num_experts_per_tok=8,
    use_qk_norm=True,
    quantization_config={
        **FP8_BLOCKS["quantization_config"],
        "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"],
    },
)
GRANITE_3B_A800M = c.config(
    "granitemoe",
    "32 1536 24 8 512 49155 4096",
    num_local_experts=40,
    num_experts_per_tok=8,
    tie_word_embeddings=True,
)
LLAMA_2_7B = c.config("llama", "32 4096 32 32 11008 32000 4096", torch_dtype="float16")
DEEPSEEK_R1 = {**c.DEEPSEEK_V3, **FP8_BLOCKS}


def _later(
    model: str,
    config: c.Config,
    gpu: str,
    tp: int,
    utilization: float,
    length: int,
    version: str,
    weights: float,
    kv: float,
    tokens: int | None,
    source: str,
    **more: Any,
) -> Published:
    usable = load_catalog().gpus[gpu].usable_memory_gib or 0.0
    where = (utilization, length, version, usable)
    return Published(model, config, gpu, tp, 1, *where, weights, kv, tokens, source, more)


UTHO, SAIYAM, WSL = "utho guide", "saiyam-pathak two-gpu post", "RTX 4090 WSL lab"
KNOWN = (
    _later("Qwen3-8B", c.QWEN3_8B, "rtx-5090", 1, 0.92, 32768, "0.24", 15.27, 0, 89040, "STEPS"),
    _later(
        "Granite-3-3B-A800M", GRANITE_3B_A800M, "l40s", 1, 0.9, 4096, "0.7", 6.15, 0, 538560,
        "production-stack",
    ),
    _later(
        "Qwen3-32B", c.QWEN3_32B, "rtx-pro-6000", 2, 0.426, 32768, "0.27", 30.59, 8.22, 67296,
        SAIYAM,
    ),
    _later("Qwen2.5-7B", c.QWEN2_7B, "rtx-4090", 1, 0.92, 8192, "0.27", 0, 0, 102544, WSL),
    _later(
        "Qwen2.5-7B FP8", {**c.QWEN2_7B, **FP8_CHANNELS}, "rtx-4090", 1, 0.92, 8192, "0.27", 0, 0,
        230352, WSL,
    ),
    _later(
        "Qwen3-235B-A22B FP8", {**QWEN3_235B, **FP8_BLOCKS}, "rtx-pro-6000", 4, 0.9, 32768,
        "0.27", 55.19, 27.85, 621392, UTHO, max_num_seqs=32,
    ),
)  # fmt: skip
"""Everything that decides is published."""
ASSUMED = (
    _later(
        "Llama-3.1-8B", c.LLAMA_8B, "a100-40", 1, 0.9, 32768, "0.19", 0, 19.92, 163168,
        "AssetOps (GCP)",
    ),
    _later(
        "Llama-3.1-8B", c.LLAMA_8B, "h100-nvl", 1, 0.9, 32768, "0.19", 0, 0, 545456,
        "AssetOps (Insomnia)",
    ),
    _later(
        "Qwen3-14B AWQ", {**QWEN3_14B, **c.AWQ}, "l40s", 1, 0.9, 40960, "0.9", 9.4, 29, 191056,
        "book lab",
    ),
    _later("Qwen2.5-3B", QWEN2_5_3B, "t4", 1, 0.9, 4096, "0.6", 5.79, 0, 168528, "Colab notes"),
    _later(
        "MiniMax-M2.5", MINIMAX_M2_5, "rtx-pro-6000", 4, 0.9, 196608, "0.15", 53.75, 23.62,
        399424, "rtx6kpro",
    ),
    _later(
        "DeepSeek-R1", DEEPSEEK_R1, "h200", 8, 0.9, 8192, "0.11.2", 79.74, 41.6, 635648,
        "llm-d memory_estimator",
    ),
    _later("Qwen3-0.6B", c.QWEN3_0_6B, "l40s", 1, 0.9, 16000, "0.12", 0, 37.42, 350304, "llm-d"),
    _later(
        "Llama-2-7B", LLAMA_2_7B, "h100", 1, 0.9, 4096, "0.15", 0, 0, 119408, "inference-sim",
        max_num_seqs=128, max_num_batched_tokens=2048,
    ),
)  # fmt: skip
"""The version, the card or the share of the memory is our reading."""


def later_table() -> str:
    """Later releases and other cards, in the columns of the other table."""
    known = map(row, KNOWN)
    assumed = (row(published).replace("| ", "| (assumed) ", 1) for published in ASSUMED)
    return "\n".join([*table().splitlines()[:2], *known, *assumed])


def reports_table() -> str:
    """Start-ups that failed, and our verdict."""
    head = "| source | GPUs (share) | vLLM | max_model_len | assumed | `fits` |"
    return "\n".join([head, "|---" * 6 + "|", *map(_report, (*REPORTS, *LATER))])


def _report(report: Report) -> str:
    return (
        f"| {report.source} | {report.gpus} ({report.utilization:g}) | {report.version} |"
        f" {report.max_model_len} | {report.assumed} | {report.size().fits.value} |"
    )


def tables() -> str:
    """Every table, with what stands between them."""
    return (
        f"{table()}\n\n"
        "### Later releases and other cards\n\n"
        "Rows where the source does not say everything (version, card, share) are marked as"
        " assumed. A first start on one GPU compiles: its figures were 0 to 1 GiB off ours.\n\n"
        f"{later_table()}\n\n"
        "### Drafts, images and states: found after the model was made\n\n"
        f"{BLIND}\n\n"
        f"{drafts_table()}\n\n"
        "### Start-ups that failed\n\n"
        "None of these 36 is said to fit for sure: there are no false `yes`. No figure was set with"
        " them in view. For releases before 0.5, and for 0.8 and 0.9, `yes` is never said, because"
        " memory outside of the profile decided there; without that rule 7 of the 36 would be"
        " `yes`. The last seven were found later. Before the limit of requests by blocks of states"
        " was known, the five of them with a state were all called `yes`; the two with ranks could"
        " not be sized.\n\n"
        f"{reports_table()}\n\n"
        "### Speeds\n\n"
        "Tokens/s of each user. 16 of the 17 are within the error that we state. The share of the"
        " bandwidth and the time of a layer were set with other figures (Qwen2.5-7B on a 4090,"
        " Qwen3-32B on two PRO 6000), the time of a step and of routing with those of the A100 and"
        " of gpt-oss. Qwen3-32B with 32 users sampled with top-k and top-p in PyTorch.\n\n"
        f"{speed_table()}\n"
    )


def write() -> None:
    """Write the tables anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    start = text.index("| model | GPUs | TP x PP", text.index(HEAD))
    DOCUMENT.write_text(text[:start] + tables(), encoding="utf-8")


if __name__ == "__main__":
    write()
