from __future__ import annotations

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.catalog.quantization import BY_NAME, NONE
from deploy.catalog.weight_tensors import count_parameters
from deploy.sizing.precision import Precision
from deploy.sizing.weights import (
    allocated_bytes,
    file_bytes,
    stage_layers,
    stage_weights_bytes,
)
from deploy.units import GIB
from tests.sizing import configs as c

SLIDES = {
    "3b": (11.7, 5.8, 2.9, 1.5),
    "7b": (26.9, 13.5, 6.7, 3.4),
    "14b": (53.8, 26.9, 13.5, 6.7),
    "32b": (123.5, 61.9, 30.9, 15.4),
}
"""The slides' table, in GiB: FP32, FP16, FP8 and INT4 by the size that makers name."""
BITS = (32, 16, 8, 4)


@pytest.mark.parametrize("size", SLIDES)
def test_the_slides_weights_are_parameters_times_bytes(size: str) -> None:
    """Within 6 %: the slides count 7.22 billion parameters as "7B", Qwen's has 7.62."""
    model = read_architecture(load_catalog().models[f"qwen2.5-coder-{size}"].config)
    for bits, gib in zip(BITS, SLIDES[size], strict=True):
        assert count_parameters(model) * bits / 8 / GIB == pytest.approx(gib, rel=0.06)


def test_the_32b_of_the_slides_in_16_bits_is_61_gib() -> None:
    model = read_architecture(c.QWEN2_32B)
    assert file_bytes(model, Precision("bfloat16", NONE)) / GIB == pytest.approx(61.9, 0.02)


@pytest.mark.parametrize(("method", "gib"), [("fp8", 32.5), ("awq", 18.0), ("gptq", 17.9)])
def test_quantised_files_keep_embeddings_and_scales(method: str, gib: float) -> None:
    """Published files of Qwen2.5-32B: AWQ 19.3 GB, GPTQ-Int4 19.4 GB."""
    model = read_architecture(c.QWEN2_32B)
    size = file_bytes(model, Precision("bfloat16", BY_NAME[method])) / GIB
    assert size == pytest.approx(gib, rel=0.02)


def test_layers_are_shared_out_from_the_last_but_one_stage() -> None:
    assert [len(layers) for layers in stage_layers(62, 4)] == [15, 16, 16, 15]
    assert [len(layers) for layers in stage_layers(61, 3)] == [20, 21, 20]
    assert stage_layers(4, 4)[-1] == range(3, 4)


def test_the_ends_of_a_pipeline_carry_the_embeddings() -> None:
    model = read_architecture(c.LLAMA_70B)
    first, middle, last = stage_weights_bytes(model, Precision("bfloat16", NONE), 1, 3)
    assert first > middle or last > middle


def test_kv_heads_are_replicated_when_there_are_more_gpus() -> None:
    model = read_architecture(c.QWEN2_7B)
    precision = Precision("bfloat16", NONE)
    four = stage_weights_bytes(model, precision, 4, 1)[0]
    fourteen = stage_weights_bytes(model, precision, 14, 1)[0]
    assert fourteen > four * 4 / 14


def test_the_allocator_keeps_small_rests() -> None:
    mib = 2**20
    assert allocated_bytes(int(31.5 * mib)) == 32 * mib
    assert allocated_bytes(int(24.5 * mib)) == int(24.5 * mib)
    assert allocated_bytes(100) == 512
