"""Start-up logs next to the estimate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.sizing import size
from deploy.sizing.observed import compare, difference_text
from tests.cli.run import run

VLLM = """
INFO 09-20 14:13:03 [gpu_model_runner.py:2338] Model loading took 15.2683 GiB and 3.1 seconds
INFO 09-20 14:13:33 [gpu_worker.py:276] Available KV cache memory: 4.56 GiB
INFO 09-20 14:13:33 [kv_cache_utils.py:864] GPU KV cache size: 37,312 tokens
INFO 09-20 14:13:40 [gpu_model_runner.py:3118] Graph capturing finished in 5 secs, took 0.50 GiB
"""
OLD = """
INFO model_runner.py:1072] Loading model weights took 14.9888 GB
INFO worker.py:232] Memory profiling results: total_gpu_memory=23.58GiB kv_cache_size=3.81GiB
INFO gpu_executor.py:113] # GPU blocks: 1952, # CPU blocks: 2048
"""
LLAMA = """
load_tensors:        CUDA0 model buffer size =  4403.49 MiB
llama_kv_cache:      CUDA0 KV buffer size =  1024.00 MiB
llama_context:      CUDA0 compute buffer size =   560.00 MiB
"""


def test_vllm_of_today() -> None:
    found = compare(size("llama-3.1-8b", "1x rtx-3090"), VLLM)
    assert [(one.what, one.unit, one.observed) for one in found] == [
        ("weights", "GiB", 15.2683),
        ("KV cache", "GiB", 4.56),
        ("KV cache", "tokens", 37312),
        ("CUDA graphs", "GiB", 0.5),
    ]
    assert found[0].error == pytest.approx(0, abs=0.03)
    assert difference_text(found[0]).startswith("weights: estimated 1")


def test_vllm_of_2024_counts_blocks() -> None:
    found = compare(size("llama-3.1-8b", "1x rtx-3090", engine_version="0.6"), OLD)
    assert [one.observed for one in found] == [14.9888, 3.81, 1952 * 16]


def test_llama_cpp() -> None:
    sizing = size("llama-3.1-8b", "1x rtx-3090", engine="ollama", quantization="q4_k_m")
    found = compare(sizing, LLAMA)
    assert [one.what for one in found] == ["weights", "KV cache", "compute"]
    assert found[1].error == pytest.approx(0, abs=0.02)


def test_the_command(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    log.write_text(VLLM, encoding="utf-8")
    asked = ("size", "llama-3.1-8b", "--gpus", "1x rtx-3090", "--observed", str(log))
    assert "KV cache: estimated" in run(*asked)
    assert len(json.loads(run(*asked, "--json"))["observed"]) == 4
    log.write_text("nothing\n", encoding="utf-8")
    assert "a start-up log of vLLM, SGLang or llama.cpp" in run(*asked, "--json", status=1)
