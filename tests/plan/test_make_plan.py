"""What follows from a deployment."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import PlanError
from deploy.plan.memory import container_memory_bytes, cpu_memory_bytes
from tests.conftest import MakeArtefacts

GIB = 1024**3
MIB = 1024**2


def test_the_demo(make: MakeArtefacts) -> None:
    plan = make().plan
    [replica] = plan.replicas
    assert (replica.host, replica.index, replica.served_model_name) == ("@local", 0, "tiny-coder")
    assert (replica.max_model_len, replica.max_num_seqs) == (2048, 2)
    assert replica.memory_limit_bytes == 2 * GIB
    assert plan.router.host == "@local"
    assert plan.served_models == ["tiny-coder"]


def test_a_model_of_ones_own(make: MakeArtefacts, tmp_path: Path) -> None:
    content = b"GGUF" + bytes(1000)
    (tmp_path / "own.gguf").write_bytes(content)
    model = {"name": "own", "path": "own.gguf", "served_model_name": "coder"}
    [replica] = make(models=[model]).plan.replicas
    assert replica.file is not None
    assert replica.file.path == tmp_path / "own.gguf"
    assert replica.file.size_bytes == 1004
    assert replica.file.sha256 == hashlib.sha256(content).hexdigest()
    assert (replica.served_model_name, replica.max_model_len) == ("coder", 8192)


def test_a_models_settings_win_over_the_engines(make: MakeArtefacts) -> None:
    model = {"name": "tiny-coder", "max_model_len": 512, "max_num_seqs": 7}
    engine = {"max_num_seqs": 3, "memory_limit": "5GiB"}
    [replica] = make(models=[model], engine=engine).plan.replicas
    assert (replica.max_model_len, replica.max_num_seqs) == (512, 7)
    assert replica.memory_limit_bytes == 5 * GIB


@pytest.mark.parametrize(
    ("weights", "limit"),
    [(0, GIB), (1, 2 * GIB), (600 * MIB, 2 * GIB), (GIB, 3 * GIB), (4 * GIB, 7 * GIB)],
)
def test_memory_is_rounded_up_to_whole_gib(weights: int, limit: int) -> None:
    assert container_memory_bytes(weights) == limit


@pytest.mark.parametrize("kind", ["llama_cpp", "ollama"])
def test_a_long_context_on_a_cpu_is_in_the_memory_limit(make: MakeArtefacts, kind: str) -> None:
    """4 layers of 2 heads of 32, keys and values in f16: 1 KiB * 2048 tokens * 1024 slots is 2 GiB.

    llama.cpp takes that when it starts, and is killed where its limit has no room for it.
    """
    engine = {"kind": kind, "max_num_seqs": 1024, "max_model_len": 2048}
    [replica] = make(models=[{"name": "tiny-coder"}], engine=engine).plan.replicas
    assert replica.memory_limit_bytes >= 4 * 2 * 2 * 32 * 2 * 2048 * 1024 * 8 // 7
    [small] = make(models=[{"name": "tiny-coder"}], engine={"kind": kind}).plan.replicas
    assert small.memory_limit_bytes == 2 * GIB


def test_an_eighth_for_prompts_comes_on_top_of_what_is_counted() -> None:
    weights, held = 4 * GIB, 16 * GIB
    limit = cpu_memory_bytes(weights, held)
    assert limit == 24 * GIB
    assert limit - limit // 8 >= weights + held + GIB // 2
    # as before where little is held, or nothing is known of it
    assert cpu_memory_bytes(weights, GIB) == cpu_memory_bytes(weights, 0) == 7 * GIB


def test_long_chats_beside_models_that_read_less(make: MakeArtefacts) -> None:
    """Those that write nothing are counted with what they read; a chat that is too long is not."""
    lab: dict[str, Any] = {
        "hosts": [{"name": "gpu1", "gpus": "2x l40s"}],
        "engine": {"kind": "vllm"},
        "models": [{"name": "qwen3-8b"}, {"name": "bge-m3"}],
    }
    plan = make(**lab, context_tokens=32768).plan
    assert [each.context_tokens for each in plan.models] == [32768, 8192]
    with pytest.raises(PlanError, match="context_tokens: 65536 for qwen3-8b"):
        make(**lab, context_tokens=65536)
