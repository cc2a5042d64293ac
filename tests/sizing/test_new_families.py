"""KV caches of the families of 2026, by hand from their configurations."""

from __future__ import annotations

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.sizing.kv_cache import KvLayout, KvSettings, kv_layout

MODELS = load_catalog().models


def layout(name: str, dtype: str = "bfloat16", tp: int = 1) -> KvLayout:
    model = read_architecture(MODELS[name].config)
    return kv_layout(model, range(len(model.layers)), KvSettings(tp, dtype))


def test_gemma_4_has_one_size_of_page_for_two_kinds_of_layers() -> None:
    """25 sliding layers of 8 x 256, 5 full ones of 2 x 512: twice the tokens in a page."""
    found = layout("gemma-4-26b-a4b")
    assert (found.window_block_tokens, found.block_tokens) == (16, 32)
    assert found.page_bytes == 16 * 2 * 8 * 256 * 2 == 32 * 2 * 2 * 512 * 2
    assert (found.full_groups, found.sliding_groups, found.layers_per_group) == (1, 5, 5)


def test_a_long_request_of_gemma_4_takes_its_window_in_sliding_groups() -> None:
    found = layout("gemma-4-26b-a4b")
    more = found.request_blocks(65536) - found.request_blocks(32768)
    assert more == 32768 // 32


def test_an_index_lies_beside_the_latent_cache() -> None:
    """61 layers of 576 values, and 128 bytes of keys with a scale of 4 for each."""
    assert layout("deepseek-v3.2").bytes_per_token == 61 * (576 * 2 + 132)


def test_only_indexed_layers_have_an_index() -> None:
    assert layout("glm-5.2").bytes_per_token == 78 * 576 * 2 + 21 * 132


def test_nemotron_keeps_tokens_in_few_layers_and_a_state_in_others() -> None:
    """6 of 52 layers with 2 heads of 128; 23 with a state, in groups of 6."""
    found = layout("nemotron-3-nano-30b")
    assert found.bytes_per_token == 6 * 2 * 2 * 128 * 2
    assert (found.full_groups, found.state_groups) == (1, 4)


def test_llama_4_keeps_every_layer_in_full() -> None:
    """24 GiB for 1048576 tokens on each of 8 GPUs (vLLM #16118)."""
    assert layout("llama-4-scout", tp=8).bytes_per_token * 1048576 == 24 * 2**30


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("nemotron-3-nano-30b", 31.58, 3.58),
        ("nemotron-3-super-120b", 120.67, 12.77),
        ("gemma-4-31b", 31.11, 31.11),
        ("deepseek-v3.2", 671.88, 37.5),
    ],
)
def test_parameters_are_those_published(name: str, total: float, active: float) -> None:
    model = read_architecture(MODELS[name].config)
    assert count_parameters(model) / 1e9 == pytest.approx(total, rel=0.01)
    assert count_active_parameters(model) / 1e9 == pytest.approx(active, rel=0.05)
