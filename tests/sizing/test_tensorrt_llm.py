"""TensorRT-LLM's memory: a share of what is free, and what it is never said to fit in."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import PlanError
from deploy.sizing import Fit, Sizing, size
from deploy.sizing.reasons import ReasonKind
from deploy.sizing.reasons_text import reason_text


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
        ("qwen3-30b-a3b", "h100", {}, ReasonKind.NOT_MODELLED),
        ("deepseek-v3", "8x h200", {}, ReasonKind.NOT_MODELLED),
        ("gpt-oss-20b", "h100", {}, ReasonKind.NOT_MODELLED),
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
    assert found("qwen3-8b", gpus, quantization=method).fits is Fit.PROBABLY


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
        {"enable_expert_parallel": True},
        {"dtype": "float16"},
        {"gpu_memory_utilization": 0.95},
    ],
)
def test_what_it_is_not_sized_with(more: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="TensorRT-LLM"):
        found("qwen2.5-coder-7b", "h100", **more)
