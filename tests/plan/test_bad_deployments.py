"""Deployments that cannot be: what an operator reads, word for word."""

from pathlib import Path
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.errors import AtelierError
from deploy.inventory import Deployment
from deploy.model_files import read_model_files
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan
from tests.golden import assert_golden

MESSAGES = Path(__file__).parent / "golden" / "bad_deployments.txt"
CODER_32B = {"name": "qwen2.5-coder-32b"}
CODER_7B = {"name": "qwen2.5-coder-7b"}
AWQ = {**CODER_32B, "quantization": "awq"}
L40S = {"name": "gpu1", "gpus": "1x l40s"}
TWO = {"name": "gpu1", "gpus": "2x l40s"}
CPU = {"name": "cpu1"}
VLLM = {"kind": "vllm"}
TRUSTED = {**VLLM, "trusted_network": True}

CASES: dict[str, dict[str, Any]] = {
    "a GPU that is not in the catalogue": {"hosts": [{"name": "gpu1", "gpus": "2x l40"}]},
    "one GPU of several that is not": {"hosts": [{"name": "g", "gpus": ["l40s", "rtx-3091"]}]},
    "no GPUs in the text": {"hosts": [{"name": "gpu1", "gpus": ""}]},
    "too many GPUs": {"hosts": [{"name": "gpu1", "gpus": "5000x l40s"}]},
    "a CPU for a GPU": {"hosts": [{"name": "gpu1", "gpus": ["cpu"]}]},
    "an Apple GPU": {"hosts": [{"name": "mac", "gpus": ["mac-studio-256"]}]},
    "weights that vLLM does not serve on CPUs": {
        "hosts": [CPU],
        "models": [{**CODER_7B, "quantization": "fp8"}],
    },
    "a share of a GPU's memory on CPUs": {
        "hosts": [CPU],
        "engine": {**VLLM, "gpu_memory_utilization": 0.8},
        "models": [CODER_7B],
    },
    "heads that do not divide on CPUs": {
        "hosts": [CPU],
        "engine": {**VLLM, "tensor_parallel_size": 3},
        "models": [CODER_7B],
    },
    "cores of one process for two": {
        "hosts": [CPU],
        "engine": {**VLLM, "tensor_parallel_size": 2, "cpu_omp_threads_bind": "0-15"},
        "models": [CODER_7B],
    },
    "a KV cache on CPUs that does not hold a request": {
        "hosts": [CPU],
        "engine": {**VLLM, "cpu_kvcache_space": 1},
        "models": [{**CODER_7B, "max_model_len": 32768}],
    },
    "a memory limit below what vLLM takes on CPUs": {
        "hosts": [CPU],
        "engine": {**VLLM, "memory_limit": "16GiB"},
        "models": [CODER_7B],
    },
    "GPUs for vLLM without any": {"hosts": [CPU], "models": [{**CODER_7B, "gpus": 1}]},
    "vLLM's settings of a model for llama.cpp": {
        "engine": {"kind": "llama_cpp"},
        "models": [
            {"name": "tiny-coder", "tool_call_parser": "hermes", "lora_adapters": {"a": "/srv/a"}}
        ],
    },
    "a rank without adapters": {"models": [{**AWQ, "max_lora_rank": 32}]},
    "an adapter with a model's name": {
        "models": [{**AWQ, "lora_adapters": {"qwen2.5-coder-32b": "/srv/a"}}]
    },
    "weights larger than the GPU": {"models": [CODER_32B]},
    "weights larger than two GPUs": {
        "hosts": [{"name": "gpu1", "gpus": "2x rtx-3090"}],
        "models": [CODER_32B],
    },
    "each fits alone": {"models": [AWQ, {"name": "qwen2.5-coder-14b", "roles": ["chat"]}]},
    "a context that does not fit": {
        "hosts": [{"name": "gpu1", "gpus": "1x rtx-4090"}],
        "models": [{**AWQ, "max_model_len": 32768}],
    },
    "a context that the model was not made for": {
        "models": [{**AWQ, "max_model_len": 65536}],
    },
    "the same for all models": {"engine": {**VLLM, "max_model_len": 65536}},
    "typical requests longer than the longest": {
        "context_tokens": 16384,
        "models": [{**AWQ, "max_model_len": 8192}],
    },
    "heads that do not divide": {
        "hosts": [{"name": "gpu1", "gpus": "3x l40s"}],
        "engine": {**VLLM, "tensor_parallel_size": 3},
    },
    "quantisation groups that do not divide": {
        "hosts": [{"name": "gpu1", "gpus": "8x l40s"}],
        "engine": {**VLLM, "tensor_parallel_size": 8},
        "models": [{"name": "qwen2.5-coder-14b", "quantization": "awq"}],
    },
    "more GPUs for a replica than there are": {
        "hosts": [TWO],
        "engine": {**VLLM, "tensor_parallel_size": 4},
    },
    "two hosts do not make one": {
        "hosts": [L40S, {"name": "gpu2", "gpus": "1x l40s"}],
        "engine": {**VLLM, "tensor_parallel_size": 2},
    },
    "a split for one model": {
        "hosts": [TWO],
        "models": [{**AWQ, "engine": {"kind": "vllm", "pipeline_parallel_size": 8}}],
    },
    "more stages than layers": {
        "hosts": [{"name": "gpu1", "gpus": "40x l40s"}],
        "engine": {**VLLM, "pipeline_parallel_size": 40},
        "models": [CODER_7B],
    },
    "more replicas than GPUs": {"models": [{**AWQ, "replicas": 3}]},
    "more replicas than fit on two hosts": {
        "hosts": [TWO, {"name": "gpu2", "gpus": "1x rtx-3090"}],
        "models": [{**AWQ, "replicas": 4}],
    },
    "a GPU for itself, and none left": {
        "models": [{**AWQ, "gpus": 1}, {"name": "qwen2.5-coder-1.5b"}],
    },
    "more GPUs for itself than there are": {"models": [{**AWQ, "gpus": 2}]},
    "a share above the engine's": {"models": [{**AWQ, "gpus": 0.95}]},
    "shares that are too much together": {
        "models": [{**AWQ, "gpus": 0.7}, {"name": "qwen2.5-coder-1.5b", "gpus": 0.3}],
    },
    "a share that does not hold the weights": {"models": [{**AWQ, "gpus": 0.2}]},
    "half a GPU more": {"models": [{**AWQ, "gpus": 1.5}]},
    "GPUs for llama.cpp": {
        "engine": {"kind": "llama_cpp"},
        "models": [{"name": "tiny-coder", "gpus": 1}],
    },
    "bfloat16 on an old GPU": {
        "hosts": [{"name": "gpu1", "gpus": "1x v100"}],
        "engine": {**VLLM, "dtype": "bfloat16"},
        "models": [CODER_7B],
    },
    "AWQ on an old GPU": {
        "hosts": [{"name": "gpu1", "gpus": "1x v100"}],
        "models": [{**CODER_7B, "quantization": "awq"}],
    },
    "an fp8 cache on an old GPU": {
        "hosts": [{"name": "gpu1", "gpus": "1x t4"}],
        "engine": {**VLLM, "kv_cache_dtype": "fp8"},
        "models": [{**CODER_7B, "quantization": "awq"}],
    },
    "weights that nobody made": {"models": [{"name": "codellama-34b", "quantization": "awq"}]},
    "an unknown quantisation": {"models": [{**CODER_7B, "quantization": "q4"}]},
    "GGUF for vLLM": {"models": [{"name": "tiny-coder"}]},
    "a GGUF file for vLLM": {"models": [{"name": "own", "path": "own.gguf"}]},
    "a config for llama.cpp": {
        "engine": {"kind": "llama_cpp"},
        "models": [{"name": "own", "path": "own.gguf", "config": "config.json"}],
    },
    "a config without weights": {"models": [{"name": "own", "config": "config.json"}]},
    "a config that is not there": {
        "models": [{"name": "own", "config": "nowhere.json", "weights": "lab/own"}],
    },
    "a model that cannot be modelled": {
        "models": [{"name": "own", "config": "jamba.json", "weights": "lab/own"}],
    },
    "a model that is not in the catalogue": {"models": [{"name": "qwen2.5-coder-33b"}]},
    "weights in no known place": {"models": [{**CODER_7B, "weights": "somewhere"}]},
    "a role that the model has not": {
        "models": [{"name": "llama-3.3-70b", "roles": ["completion"]}],
    },
    "a role that there is not": {"models": [{**CODER_7B, "roles": ["embedding"]}]},
    "an embedding model for llama.cpp": {
        "engine": {"kind": "llama_cpp"},
        "models": [{"name": "bge-m3"}],
    },
    "an embedding model that cannot be sized": {"models": [{"name": "bge-m3"}]},
    "embeddings beside chats": {"models": [{**CODER_7B, "roles": ["chat", "embedding"]}]},
    "vLLM's settings for llama.cpp": {
        "engine": {"kind": "llama_cpp", "tensor_parallel_size": 2},
        "models": [{"name": "tiny-coder"}],
    },
    "llama.cpp's settings for vLLM": {"engine": {**VLLM, "threads": 8}},
    "arguments for Ollama": {"engine": {"kind": "ollama", "extra_args": ["--verbose"]}},
    "arguments for Ollama's model": {
        "engine": {"kind": "ollama"},
        "models": [{**CODER_7B, "extra_args": ["--verbose"]}],
    },
    "Ollama's cache for vLLM": {"engine": {**VLLM, "kv_cache_dtype": "q8_0"}},
    "a time that is none": {"engine": {"kind": "ollama", "keep_alive": "forever"}},
    "Ollama's setting for vLLM": {"engine": {**VLLM, "keep_alive": "5m"}},
    "Ollama's variable": {"engine": {"kind": "ollama", "env": {"OLLAMA_KEEP_ALIVE": "5m"}}},
    "an engine that there is not": {"engine": {"kind": "vlm"}},
    "all of the memory": {"engine": {**VLLM, "gpu_memory_utilization": 1.0}},
    "a cache at a relative path": {"engine": {**VLLM, "huggingface_cache": "cache"}},
    "a variable that Atelier sets": {"engine": {**VLLM, "env": {"HF_HUB_OFFLINE": "1"}}},
    "weights that Ollama's library has not": {
        "engine": {"kind": "ollama"},
        "models": [{**CODER_7B, "quantization": "awq"}],
    },
    "a GGUF file of unknown size on GPUs": {
        "engine": {"kind": "ollama"},
        "models": [{"name": "own", "path": "own.gguf"}],
    },
    "a router on no host": {"router": {"host": "gpu9"}},
    "engines on this machine, the router elsewhere": {
        "engine": TRUSTED,
        "hosts": [{"name": "10.0.0.1"}, {"name": "@local", "gpus": "1x l40s"}],
    },
    "engines at a name": {"engine": TRUSTED, "hosts": [{"name": "10.0.0.1"}, L40S]},
    "vLLM in a network with others": {
        "hosts": [{"name": "10.0.0.1"}, {"name": "10.0.0.2", "gpus": "1x l40s"}],
    },
    "Ollama in a network with others": {
        "engine": {"kind": "ollama"},
        "hosts": [{"name": "10.0.0.1"}, {"name": "10.0.0.2", "gpus": "2x rtx-3060"}],
        "models": [{"name": "qwen2.5-coder-7b", "replicas": 2}],
    },
    "ports that collide": {
        "engine": TRUSTED,
        "hosts": [{"name": "10.0.0.1"}, {"name": "10.0.0.2", "gpus": "4x l40s"}],
        "models": [
            {**CODER_7B, "replicas": 2, "gpus": 2},
            {"name": "qwen2.5-coder-14b", "engine": {**TRUSTED, "port": 8001}},
        ],
    },
    "PostgreSQL on another host than the web UI": {
        "hosts": [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "10.0.0.2"}],
        "router": {"listen": "0.0.0.0"},  # noqa: S104 - declared, not bound
        "web_ui": {"host": "10.0.0.2"},
        "postgres": {},
    },
    "many routers": {"router": {"replicas": 8}, "postgres": {}},
    "one database for both": {
        "postgres": {
            "router_database_url": {"env": "DATABASE"},
            "web_ui_database_url": {"env": "DATABASE"},
        },
    },
    "a database in the environment": {"router": {"env": {"DATABASE_URL": "postgresql://db/x"}}},
    "no router": {"router": {"replicas": 0}},
    "PostgreSQL for a few": {"postgres": {"max_connections": 10}},
    "a use that there is not": {"use": "commercial"},
    "no context": {"context_tokens": 0},
}


def plan_of(settings: dict[str, Any], directory: Path) -> DeploymentPlan:
    whole = {"name": "lab", "hosts": [L40S], "engine": VLLM, "models": [AWQ], **settings}
    spec, catalog = Deployment(**whole), load_catalog()
    return make_plan(spec, catalog, read_model_files(spec, catalog, directory), directory)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "own.gguf").write_bytes(b"GGUF" + bytes(1000))
    (tmp_path / "jamba.json").write_text('{"model_type": "jamba"}', encoding="utf-8")
    (tmp_path / "config.json").write_text(
        '{"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,'
        ' "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,'
        ' "vocab_size": 151936, "max_position_embeddings": 32768}',
        encoding="utf-8",
    )
    return tmp_path


def message_of(settings: dict[str, Any], directory: Path) -> str:
    with pytest.raises(AtelierError) as error:
        plan_of(settings, directory)
    return str(error.value).replace(str(directory), "DIRECTORY")


@pytest.mark.golden
def test_each_is_refused_word_for_word(directory: Path) -> None:
    parts = [f"## {case}\n{message_of(CASES[case], directory)}\n" for case in CASES]
    assert_golden(MESSAGES, "\n".join(parts))
