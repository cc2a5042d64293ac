"""SGLang's memory, against start-ups that were published, and what it is never said to fit in."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.sizing import Fit, Sizing, SizingRequest, find_devices, find_model, size
from deploy.sizing.arrangement import arrange
from deploy.sizing.observed import compare
from deploy.sizing.reasons import Reason, ReasonKind
from deploy.sizing.reasons_text import INVENTORY, reason_text
from deploy.sizing.sglang import mem_fraction_static
from deploy.sizing.size_model import make_setup
from deploy.units import GIB

CATALOG = load_catalog()
PUBLISHED = [
    # SGLang 0.5, 8x H200, --tp 8 --mem-fraction-static 0.82: "the observed ~509k", see
    # https://github.com/ai-dynamo/aisimulate/pull/263
    ("deepseek-r1", None, "8x h200", 0.82, 509_000),
    # 4x H100, --tp 4 --mem-fraction-static 0.93: "#tokens: 367404", see
    # https://github.com/vllm-project/vllm/issues/21348
    ("qwen3-235b-a22b", "fp8", "4x h100", 0.93, 367_404),
]
"""Model, quantisation, GPUs, ``--mem-fraction-static``, and the tokens of the KV cache."""


def found(name: str, gpus: str, **more: Any) -> Sizing:
    return size(name, gpus, engine="sglang", **more)


def reasons(sizing: Sizing) -> list[Reason]:
    return [*sizing.reasons, *sizing.warnings]


@pytest.mark.parametrize(("name", "method", "gpus", "share", "tokens"), PUBLISHED)
def test_published_kv_caches(
    name: str, method: str | None, gpus: str, share: float, tokens: int
) -> None:
    """``_profile_available_bytes``: the share of what is free at first, less the weights."""
    declared, devices = find_model(name, CATALOG, method), find_devices(gpus, CATALOG)
    request = SizingRequest(
        declared.architecture,
        devices,
        engine="sglang",
        quantization=method,
        weights_gib=declared.weights_gib,
    )
    stage = arrange(make_setup(request), len(devices), 1).tightest
    free = devices[0].usable_gib - stage.overhead.non_torch_gib
    ours = (share * free - stage.weights_gib) * GIB / stage.layout.bytes_per_token
    assert ours == pytest.approx(tokens, rel=0.02)


def test_what_is_told_comes_out_as_it_was_planned() -> None:
    """The formula of upstream, from what it is told to the KV cache that it makes of it."""
    for gpus, share in (("l40s", 0.9), ("2x h100", 0.85), ("mi300x", 0.5)):
        sizing = found("qwen2.5-coder-7b", gpus, gpu_memory_utilization=share)
        told = sizing.details["mem_fraction_static"]
        budget = sizing.usable_gib_per_gpu * share
        free = budget - sizing.overhead.non_torch_gib
        made = told * free - sizing.weights_gib_per_gpu
        assert sizing.kv_cache_gib_per_gpu <= made <= sizing.kv_cache_gib_per_gpu + 0.15
        # what lies outside stays free, whatever SGLang makes of its share
        outside = sizing.overhead.activation_gib + sizing.overhead.cuda_graphs_gib
        assert budget - sizing.weights_gib_per_gpu - sizing.kv_cache_gib_per_gpu >= outside


def test_what_upstream_keeps_free() -> None:
    """By hand, from ``handle_gpu_memory_settings``: in MiB."""
    small = found("qwen2.5-coder-7b", "l40s").overhead
    # 512 and 1.5 for each of 4096 tokens, an eighth of a GiB; 32 graphs of 2 and 50 of 8
    assert small.activation_gib * 1024 == pytest.approx(512 + 1.5 * 4096 + 128)
    assert small.cuda_graphs_gib * 1024 == pytest.approx(32 * 2 + 50 * 8)
    large = found("qwen2.5-coder-7b", "h100", max_num_batched_tokens=2048).overhead
    # at least 10 GiB on cards of more than 60
    assert large.activation_gib + large.cuda_graphs_gib == pytest.approx(10)
    eager = found("qwen2.5-coder-7b", "l40s", enforce_eager=True).overhead
    assert eager.cuda_graphs_gib == 0
    latent = found("deepseek-coder-v2-lite", "l40s").overhead
    assert latent.cuda_graphs_gib * 1024 == pytest.approx(32 * 2 + 1.5 * 1024)


def test_what_attention_works_in_on_amd() -> None:
    """Qwen3-30B-A3B with 262144 tokens and 3261 requests: 51.75 GiB.

    https://github.com/sgl-project/sglang/pull/18263
    """
    request = {"max_model_len": 262_144, "max_num_seqs": 3261, "tensor_parallel_size": 1}
    amd = found("qwen3-coder-30b-a3b", "mi355x", **request).overhead
    nvidia = found("qwen3-coder-30b-a3b", "h200", **request).overhead
    assert amd.buffers_gib - nvidia.buffers_gib == pytest.approx(51.75, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gpus", "what"),
    [
        ("qwen3.6-27b", "h100", "states"),
        ("gpt-oss-20b", "h100", "sliding windows"),
        ("deepseek-v3.2", "8x h200", "the index of sparse attention"),
        ("devstral-small-2", "h100", "images"),
        ("bge-m3", "h100", "models that keep no tokens"),
    ],
)
def test_what_is_laid_out_in_another_way_is_not_guessed(name: str, gpus: str, what: str) -> None:
    sizing = found(name, gpus)
    assert (sizing.supported, sizing.fits) == (False, Fit.NO)
    [why] = sizing.reasons
    assert reason_text(why, INVENTORY) == (
        f"SGLang lays {what} out in a way of its own, which is not modelled: whether it fits would"
        " be a guess: use engine kind vllm"
    )


@pytest.mark.parametrize(
    ("gpus", "more", "kind"),
    [
        ("t4", {}, ReasonKind.CAPABILITY),
        ("r9700", {}, ReasonKind.NOT_FOR_GFX),
        ("mi210", {}, ReasonKind.NOT_FOR_GFX),
        ("mi300x", {"quantization": "nvfp4"}, ReasonKind.NOT_ON_AMD),
        ("mi300x", {"quantization": "mxfp4"}, ReasonKind.NOT_ON_AMD),
        ("mac-studio-64", {}, ReasonKind.ON_APPLE),
    ],
)
def test_hardware_that_its_images_are_not_for(
    gpus: str, more: dict[str, Any], kind: ReasonKind
) -> None:
    sizing = found("qwen2.5-coder-7b", gpus, **more)
    assert not sizing.supported
    assert kind in {why.kind for why in sizing.reasons}
    assert "vLLM" not in " ".join(reason_text(why) for why in sizing.reasons)


def test_it_is_never_said_to_fit_for_sure() -> None:
    sizing = found("qwen2.5-coder-0.5b", "h200")
    assert sizing.fits is Fit.PROBABLY
    assert ReasonKind.NOT_MEASURED in {why.kind for why in reasons(sizing)}


def test_what_vllm_fits_in_and_sglang_does_not() -> None:
    """Upstream keeps 6.7 GiB free on such a card; vLLM measures that it needs less."""
    assert size("qwen2.5-coder-7b", "rtx-4090").fits
    assert not found("qwen2.5-coder-7b", "rtx-4090").fits
    assert found("qwen2.5-coder-7b", "rtx-4090", max_num_batched_tokens=2048).fits


def test_the_share_is_within_bounds() -> None:
    overhead = found("qwen2.5-coder-7b", "l40s").overhead
    assert mem_fraction_static(0.5, 10, overhead) == 0
    assert mem_fraction_static(20, 40, overhead) == 1


@pytest.mark.parametrize(
    "more", [{"lora_slots": 1}, {"language_model_only": True}, {"data_parallel_size": 2}]
)
def test_what_only_vllm_is_sized_with(more: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="not sized for SGLang"):
        found("qwen2.5-coder-7b", "h100", **more)


def test_a_log_of_a_start() -> None:
    log = (
        "[2026-07-15 13:14:53 TP0] Load weight end. elapsed=19.09 s, type=Qwen2ForCausalLM,"
        " avail mem=29.10 GB, mem usage=14.30 GB.\n"
        "[2026-07-15 13:15:20 TP0] max_total_num_tokens=337408, chunked_prefill_size=4096,"
        " max_prefill_tokens=16384, max_running_requests=256, context_len=32768,"
        " available_gpu_mem=9.31 GB\n"
    )
    sizing = found("qwen2.5-coder-7b", "l40s")
    weights, tokens = compare(sizing, log)
    assert (weights.unit, weights.observed, tokens.unit, tokens.observed) == (
        *("GiB", 14.3),
        *("tokens", 337_408),
    )
    assert weights.error == pytest.approx(0, abs=0.02)
