from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog.architecture import read_architecture
from deploy.sizing.kv_cache import KvLayout, KvSettings, kv_layout, token_bytes
from deploy.units import GIB
from tests.sizing import configs as c


def _layout(config: c.Config, tp: int = 1, dtype: str = "bfloat16", batch: int = 8192) -> KvLayout:
    model = read_architecture(config)
    return kv_layout(model, range(len(model.layers)), KvSettings(tp, dtype, batch))


def test_fp8_halves_it() -> None:
    assert _layout(c.LLAMA_8B).block_bytes == 2 * _layout(c.LLAMA_8B, dtype="fp8").block_bytes


def test_the_latent_of_mla_is_576_elements_and_not_divided() -> None:
    model = read_architecture(c.DEEPSEEK_V2_LITE)
    assert token_bytes(model, model.layers[0], 1, "bfloat16") == 576 * 2
    assert token_bytes(model, model.layers[0], 8, "bfloat16") == 576 * 2


def test_gemma_2_has_two_groups_of_23_layers() -> None:
    """vLLM 0.19 on an H100: 20.59 GiB are 7335 blocks and 58672 tokens."""
    layout = _layout(c.GEMMA2_27B)
    assert (layout.layers_per_group, layout.groups) == (23, 2)
    blocks = layout.blocks(20.59 * GIB)
    assert abs(blocks - 7335) <= 3
    assert abs(layout.tokens(blocks) - 58672) <= 32


def test_gemma_3_has_one_full_group_in_seven() -> None:
    """vLLM 0.19 on an H100: 19.53 GiB are 15997 blocks and 36560 tokens."""
    layout = _layout(c.GEMMA3_27B)
    assert (layout.full_groups, layout.sliding_groups) == (1, 6)
    assert abs(layout.blocks(19.53 * GIB) - 15997) <= 4
    assert layout.tokens(15997) == 36560


def test_a_sliding_window_bounds_what_a_request_takes() -> None:
    layout = _layout(c.GPT_OSS_20B, batch=2048)
    assert layout.request_blocks(131072) < layout.groups * 131072 // 16 * 0.6


@pytest.mark.parametrize("model", [c.GEMMA3_27B, c.LLAMA_8B])
@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_the_longest_request_is_the_longest(model: c.Config, blocks: int, limit: int) -> None:
    layout = _layout(model)
    longest = layout.longest_request(blocks, limit)
    assert longest <= limit
    assert longest == 0 or layout.request_blocks(longest) <= blocks
    assert longest == limit or layout.request_blocks(longest + 1) > blocks
