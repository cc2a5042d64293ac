"""Encoders (BERT, RoBERTa): all tokens of a text at once, nothing kept for tokens to come."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.catalog.weight_tensors import count_parameters
from deploy.sizing import Fit, Sizing, SizingRequest, find_devices, size_model, sizing_to_json
from deploy.sizing.reasons_text import reason_text
from deploy.units import GIB

BERT_BASE = {
    "model_type": "bert",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "torch_dtype": "float32",
}


def test_parameters_are_those_of_the_published_models() -> None:
    """Those of BERT base without its pooler (0.59 million) and its token types."""
    bert = read_architecture(BERT_BASE)
    assert count_parameters(bert) / 1e6 == pytest.approx(109.48 - 0.59, abs=0.01)
    assert bert.max_position_embeddings == 512
    bge = read_architecture(load_catalog().models["bge-m3"].config)
    assert count_parameters(bge) / 1e6 == pytest.approx(567.75 - 1.05, abs=0.1)
    assert bge.max_position_embeddings == 8192


def size_bge(gpus: str, **more: Any) -> Sizing:
    model = read_architecture(load_catalog().models["bge-m3"].config)
    return size_model(SizingRequest(model, find_devices(gpus, load_catalog()), **more))


def test_there_is_no_kv_cache() -> None:
    sizing = size_bge("1x l40s")
    assert sizing.fits is Fit.YES
    assert (sizing.kv_cache_tokens, sizing.kv_cache_gib_per_gpu) == (0, 0.0)
    assert sizing.pinned_kv_cache_bytes_per_gpu == 0
    assert sizing.weights_gib_per_gpu == pytest.approx(0.568e9 * 2 / GIB, rel=0.01)
    assert sizing.max_model_len == 8192
    # a text is not read in parts
    assert sizing.max_num_batched_tokens == 8192
    assert sizing.concurrent_users == sizing.max_num_seqs


@pytest.mark.parametrize("share", [0.03, 0.045])
def test_what_is_too_small_for_weights_and_activations(share: float) -> None:
    sizing = size_bge("1x l40s", gpu_memory_utilization=share)
    assert sizing.fits is Fit.NO
    assert [reason_text(reason) for reason in sizing.reasons]


def test_texts_longer_than_its_positions_are_refused() -> None:
    sizing = size_bge("1x l40s", max_model_len=10_000)
    assert sizing.fits is Fit.NO
    assert "8192" in reason_text(sizing.reasons[0])


def test_it_writes_nothing() -> None:
    """No speed of writing, and no KV cache that requests outgrow."""
    sizing = size_bge("2x l40s")
    shown = sizing_to_json(sizing)
    assert (shown["tokens_per_second_per_user"], shown["tokens_per_second"]) == (None, None)
    told = [shown["at_the_limit"], *(row["reason"] for row in shown["rejected"])]
    assert len(told) == 3
    assert not [text for text in told if "KV cache" in text or "tokens/s" in text]
