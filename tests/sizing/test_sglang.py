"""SGLang's memory, against start-ups that were published, and what it is never said to fit in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.sizing import Fit, Sizing, SizingRequest, find_devices, find_model, size
from deploy.sizing.arrangement import arrange
from deploy.sizing.kv_cache import KvSettings
from deploy.sizing.kv_pools import pool_layout
from deploy.sizing.observed import compare
from deploy.sizing.reasons import Reason, ReasonKind
from deploy.sizing.reasons_text import INVENTORY, reason_text
from deploy.sizing.setup import make_setup
from deploy.sizing.sglang import mem_fraction_static
from deploy.sizing.sglang_models import WINDOW_SHARE, window_share
from deploy.sizing.sglang_states import slots_of
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
        ("gemma-4-31b", "h100", "images"),
        ("deepseek-v3.2", "8x mi300x", "the index of sparse attention on AMD"),
        ("devstral-small-2", "h100", "images"),
        ("bge-m3", "h100", "models that keep no tokens"),
    ],
)
def test_what_is_laid_out_in_another_way_is_not_guessed(name: str, gpus: str, what: str) -> None:
    sizing = found(name, gpus)
    assert (sizing.supported, sizing.fits) == (False, Fit.NO)
    [why] = sizing.reasons
    assert reason_text(why, INVENTORY) == (
        f"Atelier cannot size {what} with SGLang: whether it fits would be a guess; use engine kind"
        " vllm"
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
        ("qwen3-coder-30b-a3b: 2x a100-80", {"quantization": "fp8"}, ReasonKind.CAPABILITY),
        ("deepseek-v3.2: 16x a100-80", {"quantization": "nvfp4"}, ReasonKind.CAPABILITY),
        ("gpt-oss-20b: mi300x", {}, ReasonKind.NOT_ON_AMD),
    ],
)
def test_hardware_that_its_images_are_not_for(
    gpus: str, more: dict[str, Any], kind: ReasonKind
) -> None:
    name, _, cards = gpus.rpartition(": ")
    sizing = found(name or "qwen2.5-coder-7b", cards, **more)
    assert not sizing.supported
    assert kind in {why.kind for why in sizing.reasons}
    assert "vLLM" not in " ".join(reason_text(why) for why in sizing.reasons)


def test_published_bytes_of_a_token_with_an_index() -> None:
    """DeepSeek V3.2 in FP8 on B200: 975424 tokens in 43.67 GB, and 1462784 in 65.49.

    https://github.com/sgl-project/sglang/pull/11309
    """
    sizing = found("deepseek-v3.2", "8x b200", tensor_parallel_size=8)
    assert sizing.kv_cache_dtype == "fp8"
    for tokens, gib in ((975_424, 43.67), (1_462_784, 65.49)):
        published = gib * GIB / tokens
        assert sizing.kv_cache_bytes_per_token_per_gpu == pytest.approx(published, rel=2e-4)
    # FP8 is what it takes on Blackwell, where nothing is declared
    hopper = found("deepseek-v3.2", "8x h200", tensor_parallel_size=8)
    assert (hopper.kv_cache_dtype, hopper.kv_cache_bytes_per_token_per_gpu) == (
        "bfloat16",
        61 * (576 * 2 + 132),
    )


def test_sliding_layers_have_a_pool_of_their_own() -> None:
    """Eight tenths of the others' tokens: "full_layer_tokens=375360, swa_layer_tokens=300288".

    https://github.com/sgl-project/sglang/pull/18039
    """
    assert int(375_360 * WINDOW_SHARE) == 300_288
    # gpt-oss-20b: 12 layers of each kind, 8 heads of 64
    token = 2 * 8 * 64 * 2
    own = found("gpt-oss-20b", "h100").kv_cache_bytes_per_token_per_gpu
    assert own == pytest.approx(token * (12 + 0.8 * 12), rel=1e-3)
    assert found("gpt-oss-20b", "2x h100", tensor_parallel_size=2).fits is Fit.PROBABLY
    # others have room for every token in every layer
    model = find_model("gpt-oss-20b", CATALOG).architecture
    assert window_share(replace(model, model_type="gemma3_text")) == 1


@pytest.mark.parametrize(("context", "needed"), [(8192, 8192), (480, 480), (128, 160), (16, 32)])
def test_short_requests_take_more_of_the_windows(context: int, needed: int) -> None:
    """A window of 128 tokens and what is not freed yet, 384, are 480 tokens of the other pool."""
    model = find_model("gpt-oss-20b", CATALOG).architecture
    layout = pool_layout(model, range(24), KvSettings(), 0.8)
    assert layout.request_blocks(context) == needed / 16
    for blocks in (1, 7, 29, 30, 31, 512):
        longest = layout.longest_request(blocks)
        assert layout.request_blocks(longest) <= blocks < layout.request_blocks(longest + 16)


STATE = 32 * 128 * 128 * 4 + (32 * 128 + 2 * 16 * 128) * 3 * 2
"""Qwen3-Coder-Next by hand: 32 heads of 128 x 128 in 32 bits, 3 inputs of a convolution in 16."""


def test_states_have_slots_of_their_own() -> None:
    """Five for each request: "--max-mamba-cache-size 40" reports "max_running_requests=8 (40 / 5)".

    https://github.com/jpezzulli/sglang-rtxpro6000/issues/5
    """
    assert slots_of(8) == 40
    sizing = found("qwen3-coder-next", "4x h100", tensor_parallel_size=4, max_num_seqs=32)
    slot = 36 * STATE / 4
    assert sizing.details["max_mamba_cache_size"] == 5 * 32
    more = found("qwen3-coder-next", "4x h100", tensor_parallel_size=4, max_num_seqs=33)
    # its row of the places of tokens, and a larger CUDA graph, too
    places = 4 * 262_144 / GIB + 2 / 1024
    taken = sizing.kv_cache_gib_per_gpu - more.kv_cache_gib_per_gpu
    assert taken == pytest.approx(5 * slot / GIB + places, abs=1e-3)
    # 12 layers of 48 keep tokens
    assert sizing.kv_cache_bytes_per_token_per_gpu == 12 * 2 * 1 * 256 * 2
    # upstream takes the pool of states out of the share that it is told
    free = sizing.usable_gib_per_gpu * 0.9 - sizing.overhead.non_torch_gib
    static = sizing.weights_gib_per_gpu + 161 * slot / GIB + sizing.kv_cache_gib_per_gpu
    assert sizing.details["mem_fraction_static"] == pytest.approx(static / free, abs=1e-3)


def test_states_share_what_is_left_as_upstream_does() -> None:
    """Nine parts of nineteen, unless it is said how many requests there may be at once."""
    sizing = found("qwen3-coder-next", "4x h100", tensor_parallel_size=4)
    slots = sizing.details["max_mamba_cache_size"]
    assert slots == 5 * sizing.max_num_seqs < 5 * 256
    states = (slots + 1) * 36 * STATE / 4 / GIB
    assert states / sizing.kv_cache_gib_per_gpu == pytest.approx(0.9, abs=0.05)
    assert f"{sizing.max_num_seqs} requests at once has 5 slots of 18 MiB" in " ".join(
        reason_text(why) for why in sizing.warnings
    )


def test_more_requests_than_there_is_room_for_states_for() -> None:
    asked = {"tensor_parallel_size": 4, "max_num_seqs": 512}
    sizing = found("qwen3-coder-next", "4x h100", **asked)
    assert sizing.fits is Fit.NO
    most = found("qwen3-coder-next", "4x h100", tensor_parallel_size=4).max_num_seqs
    assert f"lower --max-num-seqs to {most}" in reason_text(sizing.reasons[0])


def test_room_for_images_is_what_upstream_leaves() -> None:
    """``adjust_mem_fraction_for_vlm`` for an encoder of 1152 in, as it reads it, 24 layers."""
    factor = 0.95 * (1 - 0.1 * (24 * 1152**2 / (24 * 1024**2) - 1))
    images = found("qwen3.6-27b", "h200", quantization="fp8").overhead
    text = found("qwen3-32b", "h200", quantization="fp8").overhead
    reserved = text.activation_gib + text.cuda_graphs_gib
    usable = found("qwen3-32b", "h200").usable_gib_per_gpu
    more = images.activation_gib - text.activation_gib
    assert more == pytest.approx((usable - reserved) * (1 - factor), rel=0.01)


@pytest.mark.parametrize(
    ("name", "gpus"),
    [("granite-4.0-h-small", "2x h100"), ("nemotron-3-nano-30b", "2x h100")],
)
def test_states_of_mamba(name: str, gpus: str) -> None:
    assert found(name, gpus).fits is Fit.PROBABLY


def test_how_mxfp4_is_padded() -> None:
    """Of gpt-oss 2880 to 2944 and 3072 by FlashInfer, to none by triton_kernels (45 x 64)."""
    experts, layers = 32, 24
    hopper, blackwell = (
        found("gpt-oss-20b", gpu).weights_gib_per_gpu * GIB for gpu in ("h100", "b200")
    )
    plain = 3 * 2880 * 2880 * 17 / 32
    padded = 3 * 2944 * 3072 * 17 / 32
    more = (padded - plain) * experts * layers
    assert blackwell - hopper == pytest.approx(more, rel=0.03)


def test_whole_experts_in_mxfp4() -> None:
    """On Hopper it would turn them into 16 bits."""
    whole = {"enable_expert_parallel": True, "tensor_parallel_size": 2}
    [why] = found("gpt-oss-120b", "2x h100", **whole).reasons
    assert (why.kind, reason_text(why)) == (
        ReasonKind.UPCAST,
        "SGLang turns whole experts in mxfp4 into 16 bits on h100, where they take four times the"
        " memory; remove --enable-expert-parallel",
    )
    assert found("gpt-oss-120b", "2x b200", **whole).fits is Fit.PROBABLY


@pytest.mark.parametrize(("gpu", "backend"), [("h100", "marlin"), ("b200", None)])
def test_nvfp4_before_blackwell(gpu: str, backend: str | None) -> None:
    sizing = found("glm-4.7", f"8x {gpu}", quantization="nvfp4")
    assert sizing.fits is Fit.PROBABLY
    assert sizing.details.get("fp4_gemm_backend") == backend


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
