"""vLLM on hosts without GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.replica_plan import ReplicaPlan
from tests.conftest import MakeArtefacts

GIB = 1024**3
CODER = {"name": "qwen2.5-coder-7b"}
BYTES_PER_TOKEN = 28 * 2 * 4 * 128 * 2
"""Of its 28 layers: keys and values of 4 heads of 128 numbers of 16 bits."""


def plan(make: MakeArtefacts, model: dict[str, Any], **engine: Any) -> DeploymentPlan:
    engine = {"kind": "vllm"} | engine
    return make(profile="20-users", models=[model], engine=engine).plan


def replica(make: MakeArtefacts, model: dict[str, Any], **engine: Any) -> ReplicaPlan:
    [found] = plan(make, model, **engine).replicas
    assert found.cpu is not None
    return found


def test_by_default(make: MakeArtefacts) -> None:
    found = replica(make, CODER)
    assert (found.gpus, found.memory, found.gpu_memory_utilization) == ((), None, None)
    assert (found.tensor_parallel_size, found.pipeline_parallel_size) == (1, 1)
    assert (found.max_model_len, found.max_num_seqs) == (32768, 8)
    assert found.cpu is not None
    # eight requests of 8192 tokens take 3.5 GiB
    assert found.cpu.model_dump() == {
        "kv_cache_space_gib": 4,
        "block_size": 128,
        "omp_threads_bind": "auto",
    }
    assert found.kv_cache_tokens == 4 * GIB // (BYTES_PER_TOKEN * 128) * 128
    assert found.concurrent_users == 8
    weights = 7.615 * 2 * 1e9
    least = weights + (2 + 1.5 + 4) * GIB
    assert least < found.memory_limit_bytes < least + 1.1 * GIB
    assert found.memory_limit_bytes % GIB == 0


def test_each_process_has_its_part_of_the_kv_cache(make: MakeArtefacts) -> None:
    found = replica(make, CODER, tensor_parallel_size=2, cpu_kvcache_space=2)
    assert found.cpu is not None
    assert found.cpu.omp_threads_bind == "nobind"
    assert found.kv_cache_tokens == 2 * GIB // (BYTES_PER_TOKEN // 2 * 128) * 128
    one = replica(make, CODER, cpu_kvcache_space=2)
    assert found.memory_limit_bytes == pytest.approx(one.memory_limit_bytes + 3.5 * GIB, abs=GIB)


def test_stages_share_the_layers(make: MakeArtefacts) -> None:
    found = replica(make, CODER, pipeline_parallel_size=2, cpu_kvcache_space=2)
    assert found.kv_cache_tokens == 2 * GIB // (BYTES_PER_TOKEN // 2 * 128) * 128


@pytest.mark.parametrize(("dtype", "size"), [("auto", 2), ("float32", 4)])
def test_what_the_kv_cache_is_kept_in(make: MakeArtefacts, dtype: str, size: int) -> None:
    found = replica(make, CODER, cpu_kvcache_space=8, dtype=dtype)
    assert found.kv_cache_tokens == 8 * GIB // (BYTES_PER_TOKEN * size // 2 * 128) * 128


def test_a_small_kv_cache_shortens_requests_that_are_not_declared(make: MakeArtefacts) -> None:
    found = replica(make, CODER, cpu_kvcache_space=1)
    assert found.max_model_len == GIB // (BYTES_PER_TOKEN * 128) * 128
    assert found.concurrent_users == found.max_model_len // 8192


def test_long_contexts_must_be_declared(make: MakeArtefacts) -> None:
    assert replica(make, {"name": "qwen3-coder-30b-a3b"}).max_model_len == 32768
    long = replica(make, {"name": "qwen3-coder-30b-a3b", "max_model_len": 131072})
    assert long.max_model_len == 131072
    assert long.cpu is not None
    assert long.cpu.kv_cache_space_gib == 12


def test_a_declared_size_of_the_weights_counts(make: MakeArtefacts) -> None:
    large = replica(make, CODER | {"weights_gib": 30, "weights": "/srv/coder"})
    small = replica(make, CODER | {"weights_gib": 10, "weights": "/srv/coder"})
    assert large.memory_limit_bytes - small.memory_limit_bytes == 20 * GIB


def test_how_much_a_model_with_a_state_takes_is_not_known(make: MakeArtefacts) -> None:
    found = replica(make, {"name": "qwen3-coder-next", "roles": ["chat"]})
    assert found.cpu is not None
    assert (found.cpu.kv_cache_space_gib, found.kv_cache_tokens) == (4, 0)


def test_the_plan_says_that_it_is_on_cpus(make: MakeArtefacts) -> None:
    found = plan(make, CODER)
    assert any("vLLM runs on CPUs, as no host has GPUs" in text for text in found.warnings)
    [model] = found.models
    assert (model.quantization, model.tokens_per_second_per_user) == ("none", None)


def test_gpus_are_used_where_there_are_any(make: MakeArtefacts) -> None:
    hosts = [
        {"name": "h1", "address": "10.0.0.1"},
        {"name": "gpu1", "address": "10.0.0.2", "gpus": "1x l40s"},
    ]
    engine = {"kind": "vllm"}
    [found] = make(hosts=hosts, models=[CODER], engine=engine).plan.replicas
    assert (found.host, found.cpu) == ("gpu1", None)


def test_replicas_take_hosts_in_turn(make: MakeArtefacts) -> None:
    hosts = [{"name": "h1", "address": "10.0.0.1"}, {"name": "h2", "address": "10.0.0.2"}]
    engine = {"kind": "vllm"}
    found = make(hosts=hosts, models=[CODER | {"replicas": 2}], engine=engine).plan.replicas
    assert [(each.host, each.is_linked) for each in found] == [("h1", False), ("h2", True)]


@pytest.mark.parametrize(
    ("declared", "parser"),
    [({}, "hermes"), ({"tool_call_parser": "xlam"}, "xlam"), ({"tool_call_parser": "none"}, None)],
    ids=str,
)
def test_how_calls_of_tools_are_read(
    make: MakeArtefacts, declared: dict[str, Any], parser: str | None
) -> None:
    assert replica(make, CODER | declared).tool_call_parser == parser


def test_what_only_completes_calls_no_tools(make: MakeArtefacts) -> None:
    assert replica(make, CODER | {"roles": ["completion"]}).tool_call_parser is None


def test_embeddings(make: MakeArtefacts) -> None:
    found = replica(make, {"name": "qwen3-embedding-0.6b"})
    assert found.embeds
    assert plan(make, {"name": "qwen3-embedding-0.6b"}).models[0].roles == ("embedding",)


@pytest.mark.parametrize("name", ["bge-m3", "bge-reranker-v2-m3"])
def test_encoders_keep_no_tokens(make: MakeArtefacts, name: str) -> None:
    found = replica(make, {"name": name})
    assert (found.kv_cache_tokens, found.max_model_len, found.concurrent_users) == (0, 8192, 8)
    assert found.cpu is not None
    # vLLM reads 0 as not set
    assert found.cpu.kv_cache_space_gib == 1
    weights = 0.568 * 2 * 1e9
    least = weights + (2 + 1.5 + 1) * GIB
    assert least < found.memory_limit_bytes < least + 1.1 * GIB
    [model] = plan(make, {"name": name}).models
    assert not model.writes
