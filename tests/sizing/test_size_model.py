from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.errors import PlanError
from deploy.sizing import Sizing, SizingRequest, find_devices, size_gguf, size_model
from deploy.sizing.reasons import Reason
from deploy.sizing.reasons_text import reason_text
from tests.examples import examples
from tests.sizing import configs as c

CONFIGS = (
    c.QWEN2_7B,
    c.QWEN2_32B,
    {**c.QWEN2_32B, **c.AWQ},
    c.QWEN3_30B_A3B,
    c.DEEPSEEK_V2_LITE,
    c.GPT_OSS_20B,
    c.GEMMA3_27B,
    c.STARCODER2_15B,
)
MODELS = [read_architecture(config) for config in CONFIGS]
GPUS = ("rtx-3090", "l40s", "a100-80", "h100", "t4")

models = st.sampled_from(MODELS)
gpus = st.sampled_from(GPUS)
contexts = st.integers(1, 40000)
utilizations = st.floats(0.3, 1.0)


def size(config: c.Config, gpus: str, **more: Any) -> Sizing:
    devices = find_devices(gpus, load_catalog())
    return size_model(SizingRequest(read_architecture(config), devices, **more))


def text(reasons: tuple[Reason, ...]) -> str:
    """What the command line says."""
    return "; ".join(map(reason_text, reasons))


@given(models, gpus, st.integers(1, 8), utilizations)
@examples(25)
def test_memory_never_exceeds_and_the_split_is_legal(
    model: Any, gpu: str, count: int, share: float
) -> None:
    devices = find_devices(f"{count}x {gpu}", load_catalog())
    sizing = size_model(SizingRequest(model, devices, gpu_memory_utilization=share))
    if not sizing.fits:
        assert sizing.reasons
        return
    used = sizing.weights_gib_per_gpu + sizing.overhead_gib_per_gpu + sizing.kv_cache_gib_per_gpu
    assert used <= devices[0].usable_gib * share + 1e-6
    assert sizing.tensor_parallel_size in sizing.legal_tensor_parallel_sizes
    assert model.heads % sizing.tensor_parallel_size == 0
    split = sizing.tensor_parallel_size * sizing.pipeline_parallel_size
    assert split * sizing.replicas <= count
    assert min(sizing.kv_cache_tokens, sizing.tokens_per_second, sizing.concurrent_users) >= 0
    assert sizing.max_model_len <= sizing.max_model_len_that_fits


@given(models, gpus, st.integers(1, 7), contexts)
@examples(15)
def test_more_gpus_never_serve_fewer_users(model: Any, gpu: str, count: int, context: int) -> None:
    served = []
    for number in (count, count + 1):
        devices = find_devices(f"{number}x {gpu}", load_catalog())
        served.append(size_model(SizingRequest(model, devices, context_tokens=context)))
    assert served[0].concurrent_users <= served[1].concurrent_users


@given(models, gpus, contexts, contexts)
@examples(15)
def test_more_context_never_serves_more_users(model: Any, gpu: str, one: int, two: int) -> None:
    devices = find_devices(f"2x {gpu}", load_catalog())
    less, more = (
        size_model(SizingRequest(model, devices, context_tokens=context)).concurrent_users
        for context in sorted((one, two))
    )
    assert less >= more


@given(models, gpus, utilizations, utilizations)
@examples(15)
def test_more_utilization_never_keeps_fewer_tokens(
    model: Any, gpu: str, one: float, two: float
) -> None:
    devices = find_devices(f"2x {gpu}", load_catalog())
    less, more = (
        size_model(
            SizingRequest(model, devices, tensor_parallel_size=2, gpu_memory_utilization=share)
        ).kv_cache_tokens
        for share in sorted((one, two))
    )
    assert less <= more


@given(models, st.integers(1, 400), st.integers(1, 400))
@examples(15)
def test_more_users_never_get_more_tokens_each(model: Any, one: int, two: int) -> None:
    devices = find_devices("2x h100", load_catalog())
    few, many = (
        size_model(
            SizingRequest(model, devices, tensor_parallel_size=2, users=users)
        ).tokens_per_second_per_user
        for users in sorted((one, two))
    )
    assert few >= many


def test_the_slides_speed_of_an_h100_with_70_users() -> None:
    """1866.3 tokens/s; a 32B in 16 bits with contexts that fit is our reading of it."""
    sizing = size(c.QWEN2_32B, "h100", users=70, context_tokens=256)
    assert sizing.tokens_per_second == pytest.approx(1866.3, rel=0.4)


def test_what_does_not_fit_says_how_it_would() -> None:
    sizing = size(c.QWEN2_32B, "l40s")
    assert not sizing.fits
    assert "needs 61.0 GiB of weights" in text(sizing.reasons)
    assert "--quantization fp8" in text(sizing.reasons)
    assert "take 2x l40s" in text(sizing.reasons)


def test_a_context_that_is_too_long_is_refused_with_the_longest() -> None:
    sizing = size(c.LLAMA_8B, "rtx-3090", max_model_len=131072)
    assert not sizing.fits
    assert "use --max-model-len" in text(sizing.reasons)


def test_a_context_beyond_the_model_is_refused() -> None:
    sizing = size(c.QWEN2_7B, "h100", max_model_len=65536)
    assert not sizing.fits
    assert "made for 32768 tokens" in text(sizing.reasons)


@pytest.mark.parametrize(
    ("gpus", "more", "reason"),
    [
        ("t4", {"dtype": "bfloat16"}, "bfloat16 needs compute capability 8.0"),
        ("v100-32", {"quantization": "awq"}, "awq weights need compute capability 7.5"),
        ("mac-studio-256", {}, "does not run on Apple"),
        ("2x l40s", {"tensor_parallel_size": 4}, "needs 4 GPUs, there are 2"),
        ("8x h100", {"tensor_parallel_size": 8}, "28 attention heads do not divide by 8"),
    ],
)
def test_what_the_hardware_cannot_do(gpus: str, more: dict[str, Any], reason: str) -> None:
    sizing = size(c.QWEN2_7B, gpus, **more)
    assert not sizing.supported
    assert reason in text(sizing.reasons)


def test_gpus_of_two_vendors_do_not_work_together() -> None:
    sizing = size(c.QWEN2_7B, "l40s, mi300x")
    assert "l40s stay unused" in text(sizing.warnings)


def test_old_gpus_use_float16_and_say_so() -> None:
    sizing = size(c.QWEN2_7B, "2x v100-32")
    assert sizing.dtype == "float16"
    assert "v100-32 uses float16" in text(sizing.warnings)


def test_models_published_in_32_bits_run_in_16() -> None:
    sizing = size({**c.QWEN2_7B, "torch_dtype": "float32"}, "l40s")
    assert sizing.dtype == "bfloat16"
    assert sizing.weights_gib_per_gpu == pytest.approx(14.25, abs=0.01)
    assert size(c.QWEN2_7B, "h100", dtype="float32").weights_gib_per_gpu > 28


def test_fp8_on_ampere_is_weights_only() -> None:
    sizing = size(c.QWEN2_7B, "rtx-3090", quantization="fp8")
    assert "Marlin" in text(sizing.warnings)


def test_the_smallest_of_several_kinds_decides() -> None:
    sizing = size(c.QWEN2_32B, "1x a6000, 1x l40s")
    assert sizing.usable_gib_per_gpu == pytest.approx(44.42)
    assert "the smallest decides" in text(sizing.warnings)


def test_a_small_gpu_beside_a_large_one_stays_unused() -> None:
    sizing = size(c.QWEN2_7B, "h100, rtx-3060")
    assert sizing.concurrent_users == size(c.QWEN2_7B, "h100").concurrent_users
    assert "rtx-3060 stay unused" in text(sizing.warnings)


def test_the_real_size_of_the_files_counts() -> None:
    assert size(c.QWEN2_7B, "l40s", weights_gib=20.0).weights_gib_per_gpu == pytest.approx(
        20, rel=0.02
    )


def test_bad_requests_name_every_setting() -> None:
    with pytest.raises(PlanError) as caught:
        size(c.QWEN2_7B, "l40s", users=0, gpu_memory_utilization=float("nan"), weights_gib=-1.0)
    assert [p.path for p in caught.value.problems] == [
        "users",
        "gpu_memory_utilization",
        "weights_gib",
    ]


def test_a_gguf_that_fits_has_every_layer_on_the_gpu() -> None:
    devices = find_devices("rtx-3060", load_catalog())
    request = SizingRequest(read_architecture(c.QWEN2_7B), devices, users=2)
    sizing = size_gguf(request)
    assert sizing.fits
    assert sizing.details["layers_on_gpu"] == 29
    big = size_gguf(replace(request, model=read_architecture(c.QWEN2_32B)))
    assert not big.fits
    assert "layers stay on the CPU" in text(big.reasons)
    assert big.tokens_per_second_per_user < sizing.tokens_per_second_per_user
