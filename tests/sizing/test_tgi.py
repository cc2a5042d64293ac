"""TGI's memory: what it takes of a card, and what it is never said to fit in."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import PlanError
from deploy.sizing import Fit, Sizing, size
from deploy.sizing.reasons import ReasonKind
from deploy.sizing.reasons_text import reason_text


def found(name: str, gpus: str, **more: Any) -> Sizing:
    return size(name, gpus, engine="tgi", **more)


def test_it_takes_its_fraction_of_the_card() -> None:
    for share in (0.9, 0.6):
        sizing = found("qwen2.5-coder-7b", "l40s", gpu_memory_utilization=share)
        parts = (
            sizing.weights_gib_per_gpu,
            sizing.overhead_gib_per_gpu,
            sizing.kv_cache_gib_per_gpu,
        )
        assert sum(parts) == pytest.approx(share * sizing.usable_gib_per_gpu)
    with pytest.raises(PlanError, match=r"at most 0\.9"):
        found("qwen2.5-coder-7b", "l40s", gpu_memory_utilization=0.95)


def test_users_are_counted_with_all_that_they_may_write() -> None:
    sizing = found("qwen2.5-coder-7b", "l40s", max_model_len=16384, context_tokens=4096)
    assert sizing.concurrent_users == sizing.kv_cache_tokens // 16384
    assert sizing.at_the_limit is not None
    assert "16384 tokens unless its client limits it" in reason_text(sizing.at_the_limit)


def test_it_is_never_said_to_fit_for_sure() -> None:
    sizing = found("qwen2.5-coder-0.5b", "h100")
    assert sizing.fits is Fit.PROBABLY
    assert ReasonKind.NOT_MEASURED in {why.kind for why in sizing.warnings}


@pytest.mark.parametrize(
    ("name", "gpus", "more", "kind"),
    [
        ("qwen3-8b", "h100", {}, ReasonKind.OTHER_MODEL),
        ("deepseek-v3", "8x h100", {}, ReasonKind.OTHER_MODEL),
        ("qwen3.6-27b", "h100", {}, ReasonKind.OTHER_MODEL),
        ("qwen2.5-coder-7b", "rtx-5090", {}, ReasonKind.OTHER_CARD),
        ("qwen2.5-coder-7b", "t4", {}, ReasonKind.OTHER_CARD),
        ("qwen2.5-coder-7b", "mi300x", {}, ReasonKind.NOT_DEPLOYED_ON),
        ("qwen2.5-coder-7b", "mac-studio-64", {}, ReasonKind.ON_APPLE),
        ("qwen2.5-coder-7b", "h100", {"quantization": "nvfp4"}, ReasonKind.OTHER_WEIGHTS),
    ],
)
def test_what_it_does_not_serve(
    name: str, gpus: str, more: dict[str, Any], kind: ReasonKind
) -> None:
    sizing = found(name, gpus, **more)
    assert (sizing.supported, sizing.fits) == (False, Fit.NO)
    assert kind in {why.kind for why in sizing.reasons}
    assert all(reason_text(why) for why in sizing.reasons)


def test_it_splits_layers_alone_and_no_kv_head() -> None:
    # 4 KV heads
    sizing = found("qwen2.5-coder-7b", "8x l40s")
    assert (sizing.tensor_parallel_size in {1, 2, 4}, sizing.pipeline_parallel_size) == (True, 1)
    refused = found("qwen2.5-coder-7b", "8x l40s", tensor_parallel_size=8)
    assert not refused.fits
    with pytest.raises(PlanError, match="1 with TGI"):
        found("qwen2.5-coder-7b", "2x l40s", pipeline_parallel_size=2)


@pytest.mark.parametrize("more", [{"lora_slots": 1}, {"enable_expert_parallel": True}])
def test_what_it_is_not_sized_with(more: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="TGI"):
        found("qwen2.5-coder-7b", "h100", **more)
