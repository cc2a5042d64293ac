"""Models whose layers keep a state: what vLLM logged for them."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.sizing import Fit, Sizing, SizingRequest, find_devices, size_model
from deploy.sizing.kv_cache import KvLayout, KvSettings, kv_layout
from deploy.sizing.reasons import ReasonKind, RemedyKind
from deploy.sizing.splits import legal_splits
from deploy.units import GIB
from tests.sizing import configs as c


def layout(config: c.Config, tp: int = 1, kv_dtype: str = "bfloat16") -> KvLayout:
    """The layout of all layers."""
    model = read_architecture(config)
    return kv_layout(model, range(len(model.layers)), KvSettings(tp, kv_dtype, 2048))


def size(gpu: str, share: float, **more: Any) -> Sizing:
    """Qwen3.6-27B in FP8 on one GPU."""
    model, devices = read_architecture(c.QWEN3_6_27B), find_devices(gpu, load_catalog())
    settings = {"gpu_memory_utilization": share, "quantization": "fp8", **more}
    return size_model(SizingRequest(model, devices, **settings))


@pytest.mark.parametrize(
    ("config", "tp", "kv_dtype", "tokens"),
    [
        # "Setting attention block size to 784 tokens", Qwen3.5 and later of 27B
        (c.QWEN3_6_27B, 1, "bfloat16", 784),
        # mitchross/talos-argocd-proxmox #1995: 2 GPUs, fp8 cache
        (c.QWEN3_6_27B, 2, "fp8", 1568),
        # vllm-project/vllm-gaudi #1453: Granite 4.0-H without prefix caching
        (c.GRANITE_4_H_SMALL, 1, "bfloat16", 528),
    ],
)
def test_blocks_are_as_long_as_logged(
    config: c.Config, tp: int, kv_dtype: str, tokens: int
) -> None:
    assert layout(config, tp, kv_dtype).block_tokens == tokens


def test_a_request_takes_what_vllm_said_it_needs() -> None:
    """Modal L40S note: 8.18 GiB are needed for 131072 tokens; 7.04 GiB hold 112896."""
    ours = layout(c.QWEN3_6_27B)
    assert (ours.layers_per_group, ours.full_groups, ours.state_groups) == (16, 1, 3)
    needed = ours.request_blocks(131072) * ours.block_bytes / GIB
    assert needed == pytest.approx(8.18, abs=0.005)
    assert ours.longest_request(ours.blocks(7.04 * GIB)) == 112896


def test_a_start_up_on_an_l40s_that_ended_with_too_long_a_context() -> None:
    """The same note: 28.51 GiB of weights, 7.04 GiB left, vLLM 0.26."""
    sizing = size("l40s", 0.86, max_model_len=131072, engine_version="0.26")
    assert sizing.weights_gib_per_gpu == pytest.approx(28.51, rel=0.01)
    assert sizing.kv_cache_gib_per_gpu == pytest.approx(7.04, rel=0.1)
    assert sizing.fits is Fit.NO


def test_a_start_up_on_an_h100() -> None:
    """infer_llm_vllm notes: 28.54 GiB of weights, 485083 tokens, vLLM 0.27.1."""
    more = {"max_model_len": 8192, "max_num_seqs": 256, "engine_version": "0.27.1"}
    sizing = size("h100", 0.9, **more)
    assert sizing.weights_gib_per_gpu == pytest.approx(28.54, rel=0.01)
    assert sizing.kv_cache_tokens == pytest.approx(485083, rel=0.03)
    assert sizing.fits is Fit.YES


@pytest.mark.parametrize(
    ("config", "billion", "active"),
    [(c.QWEN3_NEXT_80B, 80, 3.5), (c.GRANITE_4_H_SMALL, 32, 9)],
)
def test_parameters_are_those_that_makers_name(
    config: c.Config, billion: float, active: float
) -> None:
    model = read_architecture(config)
    assert count_parameters(model) / 1e9 == pytest.approx(billion, rel=0.03)
    assert count_active_parameters(model) / 1e9 == pytest.approx(active, rel=0.15)


def test_the_heads_of_a_state_must_divide() -> None:
    model = read_architecture(c.QWEN3_6_27B)
    legal = legal_splits("vllm", model, model.quantization, whole_experts=False)
    assert legal == (1, 2, 4, 8)


def test_states_bound_how_many_are_answered_at_once() -> None:
    """Short requests still take a block of 784 tokens and three of states."""
    sizing = size("h100", 0.9, context_tokens=100, max_num_seqs=700)
    ours = layout(c.QWEN3_6_27B)
    blocks = sizing.kv_cache_gib_per_gpu * GIB // ours.block_bytes
    assert sizing.concurrent_users == blocks // 4


def test_more_requests_than_blocks_of_states_do_not_start() -> None:
    """vllm-project/recipes #551: 856 blocks on one H100 at 0.95, where 1024 requests are asked."""
    sizing = size("h100", 0.95, max_num_seqs=1024, engine_version="0.22")
    (why,) = sizing.reasons
    assert (sizing.fits, why.kind) == (Fit.NO, ReasonKind.STATE_BLOCKS)
    assert why.figures["blocks"] == pytest.approx(856, rel=0.03)
    assert why.remedies[0].kind is RemedyKind.LOWER_MAX_NUM_SEQS


def test_by_default_no_more_requests_are_taken_than_there_are_blocks() -> None:
    sizing = size("h100", 0.95, engine_version="0.22")
    assert sizing.fits is Fit.YES
    assert sizing.max_num_seqs < 856
    assert size("h100", 0.95, engine_version="0.22", enforce_eager=True).max_num_seqs == 1024
