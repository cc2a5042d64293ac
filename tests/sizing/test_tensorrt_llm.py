"""TensorRT-LLM's memory: a share of what is free, and what it is never said to fit in."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.sizing import Fit, Sizing, find_model, size
from deploy.sizing.expert_workspaces import masked_bytes, permuted_bytes
from deploy.sizing.reasons import ReasonKind
from deploy.sizing.reasons_text import reason_text

CATALOG = load_catalog()


def found(name: str, gpus: str, **more: Any) -> Sizing:
    return size(name, gpus, engine="tensorrt_llm", **more)


def taken(sizing: Sizing) -> float:
    return sizing.weights_gib_per_gpu + sizing.overhead_gib_per_gpu


@pytest.mark.parametrize("share", [0.9, 0.6])
@pytest.mark.parametrize(
    ("name", "gpus"), [("qwen2.5-coder-7b", "l40s"), ("llama-3.3-70b", "4x h100")]
)
def test_what_it_is_told_leaves_the_rest_of_the_card(name: str, gpus: str, share: float) -> None:
    sizing = found(name, gpus, gpu_memory_utilization=share, max_model_len=4096)
    usable = sizing.usable_gib_per_gpu
    assert taken(sizing) + sizing.kv_cache_gib_per_gpu == pytest.approx(share * usable)
    # what upstream does with it: the smaller of a share of what is free, and of the tokens
    fraction = sizing.details["free_gpu_memory_fraction"]
    by_share = fraction * (usable - taken(sizing))
    by_tokens = sizing.details["max_tokens"] / sizing.kv_cache_tokens * sizing.kv_cache_gib_per_gpu
    pool = min(by_share, by_tokens)
    assert pool >= sizing.kv_cache_gib_per_gpu * 0.999
    assert pool + taken(sizing) <= share * usable + 0.05
    # a share of the whole card would be another one
    assert fraction < share


def test_its_cache_shrinks_where_a_step_takes_more() -> None:
    """With twice the overhead that was planned, its pool is smaller, and nothing overflows."""
    sizing = found("qwen2.5-coder-7b", "l40s")
    usable = sizing.usable_gib_per_gpu
    free = usable - sizing.weights_gib_per_gpu - 2 * sizing.overhead_gib_per_gpu
    pool = min(sizing.details["free_gpu_memory_fraction"] * free, sizing.kv_cache_gib_per_gpu)
    left = free - pool
    # for CUDA graphs, which it captures afterwards
    assert left >= 0.05 * usable


def test_users_are_counted_with_all_that_they_may_write() -> None:
    sizing = found("qwen2.5-coder-7b", "l40s", max_model_len=16384, context_tokens=4096)
    assert sizing.concurrent_users == sizing.kv_cache_tokens // 16384
    assert sizing.at_the_limit is not None
    assert "16384 tokens unless its client limits it" in reason_text(sizing.at_the_limit)


@pytest.mark.parametrize(("context", "length"), [(None, 8192), (4096, 4096)])
def test_without_a_length_the_usual_one(context: int | None, length: int) -> None:
    sizing = found("qwen3-32b", "2x h100", context_tokens=context)
    assert sizing.max_model_len == length
    assert sizing.concurrent_users == sizing.kv_cache_tokens // length * sizing.replicas


def test_it_is_never_said_to_fit_for_sure() -> None:
    sizing = found("qwen2.5-coder-0.5b", "h100")
    assert sizing.fits is Fit.PROBABLY
    assert ReasonKind.NOT_MEASURED in {why.kind for why in sizing.warnings}


@pytest.mark.parametrize(
    ("name", "gpus", "more", "kind"),
    [
        ("starcoder2-15b", "h100", {}, ReasonKind.NOT_MODELLED),
        ("deepseek-v3.2", "8x h200", {}, ReasonKind.NOT_MODELLED),
        ("qwen3-coder-next", "4x h100", {}, ReasonKind.NOT_MODELLED),
        ("kimi-k2.6", "8x b200", {}, ReasonKind.NOT_MODELLED),
        ("minimax-m2.5", "4x h100", {}, ReasonKind.OTHER_MODEL),
        ("deepseek-coder-v2-lite", "h100", {}, ReasonKind.OTHER_MODEL),
        ("gpt-oss-20b", "a100-80", {}, ReasonKind.CAPABILITY),
        ("gpt-oss-20b", "l40s", {}, ReasonKind.CAPABILITY),
        ("deepseek-v3", "8x a100-80", {}, ReasonKind.CAPABILITY),
        ("deepseek-v3", "8x rtx-pro-6000", {}, ReasonKind.NO_BLOCKS),
        ("qwen3-coder-30b-a3b", "2x l40s", {"quantization": "fp8"}, ReasonKind.NO_BLOCKS),
        ("qwen3-8b", "l40s", {"quantization": "fp8"}, ReasonKind.NO_BLOCKS),
        ("qwen3.6-27b", "h100", {}, ReasonKind.NOT_MODELLED),
        ("seed-oss-36b", "h200", {}, ReasonKind.OTHER_MODEL),
        ("bge-m3", "h100", {}, ReasonKind.NOT_MODELLED),
        ("qwen2.5-coder-7b", "t4", {}, ReasonKind.CAPABILITY),
        ("qwen2.5-coder-7b", "mi300x", {}, ReasonKind.NVIDIA_ALONE),
        ("qwen2.5-coder-7b", "mac-studio-64", {}, ReasonKind.ON_APPLE),
        ("qwen2.5-coder-7b", "h100", {"quantization": "awq"}, ReasonKind.OTHER_WEIGHTS),
        ("qwen2.5-coder-7b", "h100", {"quantization": "gptq"}, ReasonKind.OTHER_WEIGHTS),
        ("qwen2.5-coder-7b", "a100-80", {"quantization": "fp8"}, ReasonKind.CAPABILITY),
        ("qwen2.5-coder-7b", "h100", {"quantization": "nvfp4"}, ReasonKind.CAPABILITY),
        ("llama-3.3-70b", "3x h200", {"pipeline_parallel_size": 3}, ReasonKind.UNEVEN_STAGES),
    ],
)
def test_what_it_does_not_serve(
    name: str, gpus: str, more: dict[str, Any], kind: ReasonKind
) -> None:
    sizing = found(name, gpus, **more)
    assert (sizing.supported, sizing.fits) == (False, Fit.NO)
    assert kind in {why.kind for why in sizing.reasons}
    assert all(reason_text(why) for why in sizing.reasons)


@pytest.mark.parametrize(
    ("gpus", "method"), [("l40s", "fp8"), ("b200", "nvfp4"), ("a100-80", "none")]
)
def test_cards_by_how_weights_are_kept(gpus: str, method: str) -> None:
    assert found("llama-3.1-8b", gpus, quantization=method).fits is Fit.PROBABLY


@pytest.mark.parametrize(
    ("name", "gpus", "method", "backend"),
    [
        ("qwen3-coder-30b-a3b", "h100", "none", None),
        ("qwen3-coder-30b-a3b", "2x a100-80", "none", None),
        ("qwen3-coder-30b-a3b", "h100", "fp8", None),
        ("qwen3-coder-30b-a3b", "b200", "fp8", "DEEPGEMM"),
        ("qwen3-235b-a22b", "4x b200", "nvfp4", None),
        ("deepseek-v3.1", "8x h200", "fp8", None),
        ("kimi-k2", "8x b300", "fp8", "DEEPGEMM"),
        ("gpt-oss-20b", "h100", "mxfp4", None),
        ("gpt-oss-120b", "b200", "mxfp4", None),
        ("gpt-oss-20b", "rtx-5090", "mxfp4", None),
        ("qwen3-8b", "b200", "fp8", None),
    ],
)
def test_kernels_of_experts_by_card(name: str, gpus: str, method: str, backend: str | None) -> None:
    """The tables of upstream's guides of DeepSeek-R1 and gpt-oss: what its default does not do."""
    sizing = found(name, gpus, quantization=method)
    assert sizing.fits is Fit.PROBABLY
    assert sizing.details.get("moe_backend") == backend


def test_what_kernels_of_experts_work_in() -> None:
    """By hand: a row for each expert of a token, or room for every token at every expert."""
    coder = find_model("qwen3-coder-30b-a3b", CATALOG).architecture
    assert coder.moe
    rows = 8192 * 8
    assert permuted_bytes(coder, coder.moe, 1, 8192) == 2 * rows * (2 * 2048 + 3 * 768)
    assert permuted_bytes(coder, coder.moe, 4, 8192) == 2 * rows * (2 * 2048 + 3 * 192)
    r1 = find_model("deepseek-r1", CATALOG).architecture
    assert r1.moe
    # inputs of 7168 in FP8 with 14 x 4 bytes of scales, results of 7168 in 16 bits
    each = 7168 + 14 * 4 + 2 * 7168
    assert masked_bytes(r1, r1.moe, 1, 32, 8192) == 32 * 8192 * each
    assert masked_bytes(r1, r1.moe, 8, 256, 8100) == 256 * 8192 * each
    # from 37376 tokens on in two parts
    assert masked_bytes(r1, r1.moe, 1, 32, 10**6) == 32 * 37376 * each


def test_whole_experts_leave_more_where_each_has_room_for_every_token() -> None:
    sliced = found("deepseek-r1", "8x b200", tensor_parallel_size=8)
    whole = found("deepseek-r1", "8x b200", tensor_parallel_size=8, enable_expert_parallel=True)
    assert sliced.weights_gib_per_gpu == pytest.approx(whole.weights_gib_per_gpu, rel=0.01)
    assert sliced.overhead_gib_per_gpu > whole.overhead_gib_per_gpu + 30
    assert whole.kv_cache_tokens > 2 * sliced.kv_cache_tokens


def test_windows_keep_every_token() -> None:
    """gpt-oss-20b: 24 layers, keys and values of 8 heads of 64 in 16 bits; latent: 576 of each."""
    assert found("gpt-oss-20b", "h100").kv_cache_bytes_per_token_per_gpu == 24 * 2 * 8 * 64 * 2
    latent = found("deepseek-v3", "8x h200", tensor_parallel_size=8)
    assert latent.kv_cache_bytes_per_token_per_gpu == 61 * 576 * 2


def test_it_reads_no_more_of_a_window_than_the_window() -> None:
    """So that longer requests slow full layers down, and no others."""
    seconds = {
        tokens: 1 / found("gpt-oss-20b", "h100", users=64, context_tokens=tokens).tokens_per_second
        for tokens in (1024, 8192)
    }
    more = (seconds[8192] - seconds[1024]) * 64
    per_token = 12 * 2 * 8 * 64 * 2
    bandwidth = CATALOG.gpus["h100"].memory_bandwidth_gb_per_second
    assert bandwidth
    assert more == pytest.approx(64 * 7168 * per_token / (bandwidth * 1e9 * 0.87), rel=0.02)


def test_experts_of_a_dense_model_are_refused() -> None:
    sizing = found("qwen2.5-coder-7b", "2x h100", enable_expert_parallel=True)
    assert [why.kind for why in sizing.reasons] == [ReasonKind.NO_EXPERTS]


def test_stages_have_as_many_layers_each() -> None:
    # 80 layers
    even = found("llama-3.3-70b", "4x h100", tensor_parallel_size=2, pipeline_parallel_size=2)
    assert (even.fits, even.pipeline_parallel_size) == (Fit.PROBABLY, 2)
    # 3 cards neither share its heads nor its layers evenly, so that two serve
    odd = found("llama-3.3-70b", "3x h200")
    assert odd.tensor_parallel_size * odd.pipeline_parallel_size == 2


@pytest.mark.parametrize(
    "more",
    [
        {"lora_slots": 1},
        {"dtype": "float16"},
        {"gpu_memory_utilization": 0.95},
    ],
)
def test_what_it_is_not_sized_with(more: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="TensorRT-LLM"):
        found("qwen2.5-coder-7b", "h100", **more)
