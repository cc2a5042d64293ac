"""Sizing in one call, and settings that change what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import PlanError
from deploy.sizing import Fit, size


def test_names_are_enough() -> None:
    sizing = size("qwen3.6-35b-a3b", "2x rtx-5090", quantization="fp8", kv_cache_dtype="fp8")
    assert sizing.fits is Fit.YES
    assert sizing.weights_gib_per_gpu == pytest.approx(17.16, abs=0.05)
    assert size("llama-3.1-8b", "1x rtx-3090", engine="ollama").quantization == "q4_k_m"


@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2"])
def test_caches_of_one_byte_are_equally_large(name: str) -> None:
    tokens = {
        size("llama-3.1-8b", "1x l40s", kv_cache_dtype=kind).kv_cache_tokens
        for kind in ("fp8", name)
    }
    assert len(tokens) == 1


def test_without_graphs_the_cache_is_larger() -> None:
    with_graphs = size("llama-3.1-8b", "1x l40s", engine_version="0.20")
    eager = size("llama-3.1-8b", "1x l40s", engine_version="0.20", enforce_eager=True)
    gained = eager.kv_cache_gib_per_gpu - with_graphs.kv_cache_gib_per_gpu
    assert gained == pytest.approx(with_graphs.overhead.cuda_graphs_gib)
    assert gained > 0


@pytest.mark.parametrize("more", [{"pace": 0.0}, {"prompt_per_output": -1.0}])
def test_speeds_that_cannot_be_meant_are_refused(more: Any) -> None:
    with pytest.raises(PlanError):
        size("llama-3.1-8b", "1x l40s", tensor_parallel_size=None, **more)


def test_a_slower_pace_serves_more_of_them() -> None:
    served = [
        size(
            "qwen3.6-35b-a3b",
            "2x rtx-5090",
            quantization="fp8",
            kv_cache_dtype="fp8",
            users=20,
            context_tokens=65536,
            prompt_per_output=6.0,
            pace=pace,
        ).details["users_at_reading_speed"]
        for pace in (80.0, 40.0, 10.0)
    ]
    assert served == sorted(served)
    assert served[0] < served[-1]


def test_splits_that_nobody_runs_are_not_tried() -> None:
    """TP 1 PP 7 is nobody's answer."""
    plain = size("llama-3.3-70b", "8x rtx-3090", plain_splits=True)
    assert plain.tensor_parallel_size in {1, 2, 4, 8}
    tried = {(one.tensor_parallel_size, one.pipeline_parallel_size) for one in plain.rejected}
    assert (1, 7) not in tried
