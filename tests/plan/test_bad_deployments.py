"""Deployments that cannot be: what an operator reads, word for word."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import Deployment
from deploy.catalog import load_catalog
from deploy.errors import AtelierError
from deploy.model_files import read_model_files
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan
from tests.golden import assert_golden

MESSAGES = Path(__file__).parent / "golden" / "bad_deployments.txt"
CODER_32B = {"name": "qwen2.5-coder-32b"}
CODER_7B = {"name": "qwen2.5-coder-7b"}
AWQ = {**CODER_32B, "quantization": "awq"}
L40S = {"name": "gpu1", "gpus": "1x l40s"}
H100 = {"name": "gpu1", "gpus": "2x h100"}
TWO = {"name": "gpu1", "gpus": "2x l40s"}
CPU = {"name": "cpu1"}
MTP = {"method": "mtp", "num_speculative_tokens": 3}
DRAFT = {"method": "draft_model", "num_speculative_tokens": 4}
VLLM = {"kind": "vllm"}
SGLANG = {"kind": "sglang"}
LLAMA_CPP = {"kind": "llama_cpp"}
TGI = {"kind": "tgi"}
TENSORRT_LLM = {"kind": "tensorrt_llm"}
ARISTOTE = {"kind": "aristote"}
LITELLM = {"kind": "litellm", "port": 4001}
TYPES = {"name": "qwen2.5-coder-1.5b-base", "gpus": 1}
NATIVE: dict[str, Any] = {
    "engines": "native",
    "programs": {"llama-server": {"path": "/opt/llama/llama-server"}},
}
TINY = str(load_catalog().models["tiny-coder"].path)

OIDC = {
    "issuer": "https://id.lab.example/realms/lab",
    "client_id": "chat",
    "client_secret": {"env": "OIDC"},
}
LDAP = {"url": "ldaps://ldap.lab.example", "search_base": "dc=lab,dc=example"}
TWO_HOSTS = [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "10.0.0.2"}]
CASES: dict[str, dict[str, Any]] = {
    "a GPU that is not in the catalogue": {"hosts": [{"name": "gpu1", "gpus": "2x l40"}]},
    "one GPU of several that is not": {"hosts": [{"name": "g", "gpus": ["l40s", "rtx-3091"]}]},
    "no GPUs in the text": {"hosts": [{"name": "gpu1", "gpus": ""}]},
    "too many GPUs": {"hosts": [{"name": "gpu1", "gpus": "5000x l40s"}]},
    "a profile that the card does not have": {"hosts": [{**H100, "mig": {0: ["1g.5gb"]}}]},
    "more instances than there is room for": {
        "hosts": [{**H100, "mig": {1: ["3g.40gb", "2g.20gb", "3g.40gb"]}}],
    },
    "a card that cannot be divided": {"hosts": [{**L40S, "mig": {0: ["1g.10gb"]}}]},
    "a GPU to divide that is not there": {"hosts": [{**H100, "mig": {2: ["1g.10gb"]}}]},
    "one replica over two instances": {
        "hosts": [{**H100, "mig": {0: ["3g.40gb"] * 2, 1: ["3g.40gb"] * 2}}],
        "engine": {**VLLM, "tensor_parallel_size": 2},
        "models": [CODER_7B],
    },
    "a power limit for GPUs of AMD": {
        "hosts": [{"name": "amd", "gpus": "1x mi300x", "power_limit_watts": 500}],
    },
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
    "stages on CPUs that are not compiled": {
        "hosts": [CPU],
        "engine": {**VLLM, "pipeline_parallel_size": 2, "enforce_eager": True},
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
    "SGLang without GPUs": {"hosts": [CPU], "engine": SGLANG, "models": [CODER_7B]},
    "SGLang on cards that its images are not for": {
        "hosts": [{"name": "gpu1", "gpus": "1x t4"}],
        "engine": SGLANG,
        "models": [{**CODER_7B, "quantization": "awq"}],
    },
    "SGLang on AMD's cards that its images are not for": {
        "hosts": [{"name": "gpu1", "gpus": "1x r9700"}],
        "engine": SGLANG,
        "models": [CODER_7B],
    },
    "SGLang with images of an encoder that is not modelled": {
        "hosts": [{"name": "gpu1", "gpus": "1x h100"}],
        "engine": SGLANG,
        "models": [{"name": "gemma-4-31b"}],
    },
    "weights larger than what SGLang leaves": {
        "hosts": [{"name": "gpu1", "gpus": "1x rtx-4090"}],
        "engine": SGLANG,
        "models": [CODER_7B],
    },
    "vLLM's settings of a model for SGLang": {
        "engine": SGLANG,
        "models": [{**CODER_7B, "lora_adapters": {"sql": "/srv/a"}, "speculative": MTP}],
    },
    "a model for embeddings with SGLang": {"engine": SGLANG, "models": [{"name": "bge-m3"}]},
    "arguments of SGLang that contradict the plan": {
        "engine": {**SGLANG, "extra_args": ["--tp-size=2", "--mem-fraction-static", "0.95"]},
        "models": [{**CODER_7B, "extra_args": ["--api-key", "x"]}],
    },
    "secrets in arguments": {
        "engine": {
            **VLLM,
            "extra_args": [
                *("--hf-token", "lab", "--otlp-traces-endpoint=https://me:pass@traces"),
                *("--kv-transfer-config", '{"token": "glpat-0123456789abcdefghij"}'),
                *("--enable-prompt-tokens-details", "--ssl-keyfile-password=x"),
            ],
        },
        "models": [{**CODER_7B, "extra_args": ["sk-0123456789abcdefghij"]}],
    },
    "a GGUF file for SGLang": {
        "engine": SGLANG,
        "models": [{"name": "own", "path": "own.gguf"}],
    },
    "a model of SGLang's over several hosts": {
        "hosts": [{"name": "gpu1", "gpus": "1x l40s"}, {"name": "gpu2", "gpus": "1x l40s"}],
        "engine": {**SGLANG, "nnodes": 2},
        "models": [CODER_7B],
    },
    "TensorRT-LLM with states, which are not modelled": {
        "hosts": [{"name": "gpu1", "gpus": "4x h100"}],
        "engine": TENSORRT_LLM,
        "models": [{"name": "qwen3-coder-next"}],
    },
    "TensorRT-LLM with FP8 in blocks on a card without kernels for it": {
        "hosts": [{"name": "gpu1", "gpus": "2x l40s"}],
        "engine": TENSORRT_LLM,
        "models": [{"name": "qwen3-coder-30b-a3b", "quantization": "fp8"}],
    },
    "SGLang with slices of experts that cut blocks of FP8": {
        "hosts": [{"name": "gpu1", "gpus": "4x h100"}],
        "engine": {**SGLANG, "tensor_parallel_size": 4},
        "models": [{"name": "qwen3-coder-30b-a3b", "quantization": "fp8"}],
    },
    "SGLang with whole experts in MXFP4 before Blackwell": {
        "hosts": [{"name": "gpu1", "gpus": "2x h100"}],
        "engine": {**SGLANG, "enable_expert_parallel": True},
        "models": [{"name": "gpt-oss-120b"}],
    },
    "TensorRT-LLM with a model of a type that it has no code for": {
        "hosts": [{"name": "gpu1", "gpus": "2x h200"}],
        "engine": TENSORRT_LLM,
        "models": [{"name": "seed-oss-36b"}],
    },
    "TensorRT-LLM on AMD's cards": {
        "hosts": [{"name": "gpu1", "gpus": "1x mi300x"}],
        "engine": TENSORRT_LLM,
        "models": [CODER_7B],
    },
    "TensorRT-LLM on a card that is too old": {
        "hosts": [{"name": "gpu1", "gpus": "1x t4"}],
        "engine": TENSORRT_LLM,
        "models": [{"name": "qwen2.5-coder-0.5b"}],
    },
    "TensorRT-LLM on CPUs": {
        "hosts": [{"name": "box"}],
        "engine": TENSORRT_LLM,
        "models": [CODER_7B],
    },
    "TensorRT-LLM with weights that somebody else quantised": {
        "hosts": [{"name": "gpu1", "gpus": "1x h100"}],
        "engine": TENSORRT_LLM,
        "models": [{**CODER_7B, "quantization": "fp8", "weights": "lab/coder-fp8"}],
    },
    "TensorRT-LLM with the catalogue's weights, which somebody else quantised": {
        "hosts": [{"name": "gpu1", "gpus": "1x h100"}],
        "engine": TENSORRT_LLM,
        "models": [{"name": "glm-4.5-air", "quantization": "fp8"}],
    },
    "TensorRT-LLM with a share of a card, and too much of it": {
        "hosts": [{"name": "gpu1", "gpus": "1x l40s"}],
        "engine": {**TENSORRT_LLM, "gpu_memory_utilization": 0.95},
        "models": [{**CODER_7B, "gpus": 0.5}],
    },
    "TensorRT-LLM with layers that are not shared out evenly": {
        "hosts": [{"name": "gpu1", "gpus": "3x h200"}],
        "engine": {**TENSORRT_LLM, "pipeline_parallel_size": 3},
        "models": [{"name": "llama-3.3-70b"}],
    },
    "arguments of TensorRT-LLM that contradict the plan": {
        "engine": {**TENSORRT_LLM, "extra_args": ["--tp_size=2", "--config", "a.yaml"]},
        "models": [CODER_7B],
    },
    "settings that TensorRT-LLM does not have": {
        "engine": {**TENSORRT_LLM, "hang_seconds": 60, "enable_expert_parallel": True},
        "models": [CODER_7B],
    },
    "TGI with a model of a type that it has no code for": {
        "hosts": [{"name": "gpu1", "gpus": "2x h100"}],
        "engine": TGI,
        "models": [{"name": "qwen3-8b"}],
    },
    "TGI on cards newer than its image": {
        "hosts": [{"name": "gpu1", "gpus": "1x rtx-5090"}],
        "engine": TGI,
        "models": [CODER_7B],
    },
    "TGI on AMD's cards": {
        "hosts": [{"name": "gpu1", "gpus": "1x mi300x"}],
        "engine": TGI,
        "models": [CODER_7B],
    },
    "TGI with a share of a card, and too much of it": {
        "hosts": [{"name": "gpu1", "gpus": "1x l40s"}],
        "engine": {**TGI, "gpu_memory_utilization": 0.95},
        "models": [{**CODER_7B, "gpus": 0.5}],
    },
    "TGI beside another engine on one card": {
        "hosts": [{"name": "gpu1", "gpus": "1x h100"}],
        "engine": VLLM,
        "models": [{**CODER_7B, "engine": TGI}, {"name": "qwen2.5-coder-1.5b-base"}],
    },
    "KV heads that TGI does not put on several GPUs": {
        "hosts": [{"name": "gpu1", "gpus": "8x l40s"}],
        "engine": {**TGI, "tensor_parallel_size": 4},
        "models": [{"name": "qwen2.5-coder-3b"}],
        "use": "research",
    },
    "arguments of TGI that contradict the plan, or have spaces": {
        "engine": {**TGI, "extra_args": ["--num-shard=2", "--api-key", "x y"]},
        "models": [CODER_7B],
    },
    "a pipeline and priorities with TGI": {
        "engine": {**TGI, "pipeline_parallel_size": 2, "scheduling_policy": "priority"},
        "models": [CODER_7B],
    },
    "a parser for TGI": {
        "engine": TGI,
        "models": [{**CODER_7B, "tool_call_parser": "hermes"}],
    },
    "a rank without adapters": {"models": [{**AWQ, "max_lora_rank": 32}]},
    "an adapter with a model's name": {
        "models": [{**AWQ, "lora_adapters": {"qwen2.5-coder-32b": "/srv/a"}}]
    },
    "drafts of a model that predicts one token": {"models": [{**AWQ, "speculative": MTP}]},
    "a draft with another vocabulary": {
        "models": [{**AWQ, "speculative": {**DRAFT, "draft": "llama-3.1-8b"}}]
    },
    "a draft that is not in the catalogue": {
        "models": [{**AWQ, "speculative": {**DRAFT, "draft": "qwen-0.1b"}}]
    },
    "arguments whose memory would not be planned": {
        "models": [{**AWQ, "extra_args": ["--data-parallel-size=2", "--speculative-config", "{}"]}]
    },
    "experts of a model without": {
        "engine": {**VLLM, "enable_expert_parallel": True},
        "models": [AWQ],
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
        "engine": {**LLAMA_CPP, "n_gpu_layers": 0},
        "models": [{"name": "tiny-coder", "gpus": 1}],
    },
    "llama.cpp with what served on CPUs before": {
        "hosts": [{"name": "gpu1", "gpus": "1x l40s"}, CPU],
        "engine": LLAMA_CPP,
        "models": [{"name": "own", "path": TINY, "config": "config.json", "weights_gib": 60}],
    },
    "llama.cpp next to what has the GPU": {
        "models": [
            AWQ,
            {
                "name": "own",
                "path": TINY,
                "config": "config.json",
                "weights_gib": 30,
                "engine": LLAMA_CPP,
            },
        ],
    },
    "some layers on a GPU": {"engine": {**LLAMA_CPP, "n_gpu_layers": 20}},
    "a cache that llama.cpp has not": {"engine": {**LLAMA_CPP, "kv_cache_dtype": "fp8"}},
    "a cache that its GPUs do not read": {"engine": {**LLAMA_CPP, "kv_cache_dtype": "q5_1"}},
    "a quantised cache without flash attention": {
        "engine": {**LLAMA_CPP, "flash_attn": "off", "kv_cache_dtype": "q8_0"},
    },
    "a quantised cache of latent attention": {
        "engine": {"kind": "ollama", "kv_cache_dtype": "q4_0"},
        "models": [{"name": "deepseek-coder-v2-lite", "quantization": "q4_0"}],
    },
    "a split that is an experiment": {"engine": {**LLAMA_CPP, "split_mode": "tensor"}},
    "parts for more GPUs than there are": {
        "engine": {**LLAMA_CPP, "tensor_split": [1, 1, 1]},
        "models": [{"name": "tiny-coder"}],
    },
    "parts for more GPUs than a replica has": {
        "hosts": [{"name": "gpu1", "gpus": "4x l40s"}],
        "engine": {**LLAMA_CPP, "tensor_split": [1, 1, 1]},
        "models": [{"name": "tiny-coder", "gpus": 2}],
    },
    "parts of no GPU": {"engine": {**LLAMA_CPP, "n_gpu_layers": 0, "tensor_split": [1, 1]}},
    "one part, and none": {"engine": {**LLAMA_CPP, "tensor_split": [1]}},
    "a part of nothing": {"engine": {**LLAMA_CPP, "tensor_split": [1, 0]}},
    "more in a part than its GPU holds": {
        "hosts": [{"name": "gpu1", "gpus": "2x rtx-3060"}],
        "engine": {**LLAMA_CPP, "tensor_split": [20, 1], "max_model_len": 8192},
        "models": [{"name": "own", "path": "own.gguf", "config": "config.json", "weights_gib": 18}],
    },
    "rows with Vulkan": {
        "engine": {**LLAMA_CPP, "backend": "vulkan", "split_mode": "row"},
    },
    "Vulkan on NVIDIA": {
        "engine": {**LLAMA_CPP, "backend": "vulkan"},
        "models": [{"name": "tiny-coder"}],
    },
    "a draft without a file for llama.cpp": {
        "engine": LLAMA_CPP,
        "models": [{"name": "tiny-coder", "speculative": {**DRAFT, "draft": "tiny-coder"}}],
    },
    "a draft for llama.cpp from a hub": {
        "engine": LLAMA_CPP,
        "models": [
            {
                "name": "tiny-coder",
                "speculative": {
                    **DRAFT,
                    "draft": "tiny-coder",
                    "path": "own.gguf",
                    "weights": "lab/draft",
                },
            }
        ],
    },
    "a draft with another vocabulary for llama.cpp": {
        "engine": LLAMA_CPP,
        "models": [
            {
                "name": "tiny-coder",
                "speculative": {**DRAFT, "draft": "config.json", "path": "own.gguf"},
            }
        ],
    },
    "a draft's file that is not there": {
        "engine": LLAMA_CPP,
        "models": [
            {
                "name": "tiny-coder",
                "speculative": {**DRAFT, "draft": "tiny-coder", "path": "nowhere.gguf"},
            }
        ],
    },
    "layers for prediction with llama.cpp": {
        "engine": LLAMA_CPP,
        "models": [{"name": "tiny-coder", "speculative": MTP}],
    },
    "a draft of a model with states": {
        "engine": LLAMA_CPP,
        "models": [
            {
                "name": "own",
                "path": "own.gguf",
                "config": "states.json",
                "speculative": {"method": "ngram", "num_speculative_tokens": 8},
            }
        ],
    },
    "a draft's file for vLLM": {
        "models": [
            {**CODER_32B, "speculative": {**DRAFT, "draft": "qwen2.5-coder-7b", "path": "own.gguf"}}
        ],
    },
    "a file of prompts": {
        "engine": LLAMA_CPP,
        "models": [
            {
                "name": "tiny-coder",
                "speculative": {"method": "ngram", "num_speculative_tokens": 8, "path": "own.gguf"},
            }
        ],
    },
    "llama.cpp's own arguments": {
        "engine": {**LLAMA_CPP, "extra_args": ["-ngl=10", "--ubatch-size", "4096"]},
        "models": [{"name": "tiny-coder", "extra_args": ["--tools", "all", "-md", "a.gguf"]}],
    },
    "a variable that would undo the sizing": {
        "engine": {**LLAMA_CPP, "env": {"LLAMA_ARG_UBATCH": "4096"}},
    },
    "a variable that lets clients run tools": {
        "engine": {**LLAMA_CPP, "env": {"LLAMA_ARG_TOOLS": "all"}},
    },
    "a variable for a draft that is not planned": {
        "engine": {"kind": "ollama", "env": {"LLAMA_ARG_SPEC_TYPE": "ngram-simple"}},
    },
    "GPUs of a host whose engines are native": {
        "hosts": [{**L40S, "address": "10.0.0.2", **NATIVE}],
        "engine": LLAMA_CPP,
        "models": [{"name": "tiny-coder"}],
    },
    "a file of unknown size on GPUs, for llama.cpp": {
        "engine": LLAMA_CPP,
        "models": [{"name": "own", "path": "own.gguf"}],
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
    "a config without a file for llama.cpp": {
        "engine": LLAMA_CPP,
        "models": [{"name": "own", "config": "config.json"}],
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
    "an embedding model that cannot be sized": {"models": [{"name": "nomic-embed-text"}]},
    "embeddings beside chats": {"models": [{**CODER_7B, "roles": ["chat", "embedding"]}]},
    "ranks beside embeddings": {"models": [{"name": "bge-m3", "roles": ["embedding", "rerank"]}]},
    "a model that ranks for llama.cpp": {
        "engine": {"kind": "llama_cpp"},
        "models": [{"name": "own", "path": "own.gguf", "roles": ["rerank"]}],
    },
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
        "engine": VLLM,
        "hosts": [{"name": "10.0.0.1"}, {"name": "@local", "gpus": "1x l40s"}],
    },
    "engines at a name": {"engine": VLLM, "hosts": [{"name": "10.0.0.1"}, L40S]},
    "vLLM on two hosts in a network with others": {
        "engine": {**VLLM, "nnodes": 2},
        "hosts": [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "10.0.0.2", "gpus": "1x l40s"}],
        "models": [CODER_7B],
    },
    "a network that nothing has to trust": {
        "engine": {**VLLM, "trusted_network": True},
        "hosts": [{"name": "10.0.0.1"}, {"name": "10.0.0.2", "gpus": "1x l40s"}],
    },
    "a link's port that the web UI has": {
        "hosts": [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "10.0.0.2"}],
        "router": {"host": "10.0.0.2", "listen": "10.0.0.2"},
        "web_ui": {"host": "10.0.0.1", "port": 8443},
    },
    "ports of engines that services have": {
        "hosts": [{**CPU, "address": "10.0.0.2", **NATIVE}],
        "engine": {"kind": "llama_cpp", "port": 3000},
        "models": [
            {"name": "tiny-coder", "replicas": 1},
            {"name": "tiny", "path": TINY, "engine": {"kind": "llama_cpp", "port": 4000}},
        ],
        "web_ui": {"port": 3000},
    },
    "a port where hosts meet that the entry has": {
        "hosts": [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "10.0.0.2", "gpus": "1x l40s"}],
        "engine": {"kind": "vllm", "nnodes": 2, "trusted_network": True, "master_port": 8443},
        "entry": {"https_port": 8443},
    },
    "ports that collide": {
        "hosts": [{**CPU, "address": "10.0.0.2", **NATIVE}],
        "engine": {"kind": "llama_cpp"},
        "models": [
            {"name": "tiny-coder", "replicas": 2},
            {"name": "tiny", "path": TINY, "engine": {"kind": "llama_cpp", "port": 8001}},
        ],
    },
    "PostgreSQL on another host than the web UI": {
        "hosts": [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "10.0.0.2"}],
        "router": {"listen": "0.0.0.0"},  # noqa: S104 - declared, not bound
        "web_ui": {"host": "10.0.0.2"},
        "postgres": {},
    },
    "many routers": {"router": {"replicas": 8}, "postgres": {}},
    "an entry that has no address of the router's host": {
        "hosts": [L40S, {"name": "10.0.0.2"}],
        "entry": {"host": "10.0.0.2"},
    },
    "a web UI that has no address of the router's host": {
        "hosts": [{"name": "@local", "gpus": "1x l40s"}, {"name": "10.0.0.2"}],
        "web_ui": {"host": "10.0.0.2"},
    },
    "an entry that has no address of the web UI's host": {
        "hosts": [{"name": "10.0.0.1", "gpus": "1x l40s"}, {"name": "front"}],
        "web_ui": {"host": "front"},
        "entry": {},
    },
    "a link's port that the router has": {
        "hosts": TWO_HOSTS,
        "router": {"port": 8443},
        "entry": {"host": "10.0.0.2"},
    },
    "two hosts whose certificates have one name": {
        "hosts": [
            {"name": "front", "address": "10.0.0.1"},
            {"name": "gpu_1", "address": "10.0.0.2", "gpus": "1x l40s"},
            {"name": "GPU-1", "address": "10.0.0.3", "gpus": "1x l40s"},
        ],
        "models": [{"name": "qwen2.5-coder-7b", "replicas": 2}],
        "engine": VLLM,
    },
    "people only, and no one has a key": {"web_ui": {"people_only": True}},
    "one database for both": {
        "postgres": {
            "router_database_url": {"env": "DATABASE"},
            "web_ui_database_url": {"env": "DATABASE"},
        },
    },
    "a database in the environment": {"router": {"env": {"DATABASE_URL": "postgresql://db/x"}}},
    "no router": {"router": {"replicas": 0}},
    "PostgreSQL for a few": {"postgres": {"max_connections": 10}},
    "several web UIs with nothing that they share": {"web_ui": {"replicas": 2}},
    "several web UIs, and one file of SQLite": {
        "web_ui": {"replicas": 2},
        "postgres": {"web_ui": False},
        "valkey": {},
        "entry": {},
    },
    "several web UIs that do not reach Valkey": {
        "hosts": TWO_HOSTS,
        "router": {"listen": "10.0.0.1"},
        "web_ui": {"replicas": 2, "host": "10.0.0.2", "listen": "10.0.0.2"},
        "postgres": {"web_ui_database_url": {"env": "DATABASE"}},
        "valkey": {},
        "entry": {},
    },
    "too few connections for the web UIs": {
        "web_ui": {"replicas": 4},
        "postgres": {"max_connections": 60},
        "valkey": {},
        "entry": {},
    },
    "a provider that sends people nowhere": {"web_ui": {"oidc": OIDC}},
    "a login that is overheard": {"web_ui": {"url": "http://chat.lab.example", "oidc": OIDC}},
    "an issuer without TLS": {"web_ui": {"oidc": OIDC | {"issuer": "http://id.lab.example"}}},
    "a discovery document for an issuer": {
        "web_ui": {
            "oidc": OIDC | {"issuer": "https://id.lab/x/.well-known/openid-configuration"},
        },
    },
    "a client's secret in the inventory": {"web_ui": {"oidc": OIDC | {"client_secret": "x" * 20}}},
    "scopes without openid": {"web_ui": {"oidc": OIDC | {"scopes": ["email"]}}},
    "groups and roles": {
        "web_ui": {"oidc": OIDC | {"allowed_groups": ["lab"], "admin_roles": ["admin"]}},
    },
    "everybody as a group": {"web_ui": {"oidc": OIDC | {"allowed_groups": ["*"]}}},
    "a directory beside a provider for some": {
        "web_ui": {"oidc": OIDC | {"allowed_groups": ["lab"]}, "ldap": LDAP},
        "entry": {},
    },
    "nothing to log in with": {"web_ui": {"login_form": False}},
    "a directory without a form": {"web_ui": {"login_form": False, "ldap": LDAP}},
    "passwords as they are": {"web_ui": {"ldap": LDAP | {"url": "ldap://ldap.lab.example"}}},
    "a directory with a path": {"web_ui": {"ldap": LDAP | {"url": "ldaps://ldap.lab/dc=lab"}}},
    "a name that is not distinguished": {"web_ui": {"ldap": LDAP | {"search_base": "people"}}},
    "a group that is not distinguished": {"web_ui": {"ldap": LDAP | {"allowed_groups": ["lab"]}}},
    "a filter without parentheses": {"web_ui": {"ldap": LDAP | {"filter": "uid=*"}}},
    "a name without a password": {"web_ui": {"ldap": LDAP | {"bind_dn": "cn=reader"}}},
    "a password without a name": {"web_ui": {"ldap": LDAP | {"bind_password": {"env": "LDAP"}}}},
    "no attribute": {"web_ui": {"ldap": LDAP | {"username_attribute": "u=*"}}},
    "logins in the environment": {"web_ui": {"env": {"ENABLE_LDAP": "true"}}},
    "Aristote without a database": {"router": ARISTOTE},
    "limits of people with Aristote": {
        "router": ARISTOTE,
        "postgres": {},
        "teams": [{"name": "physics", "tpm_limit": 1000}],
        "people": [{"name": "ada", "expires": "2030-01-31"}, {"name": "atelier"}],
        "limits": {"max_budget": 5},
        "web_ui": {"people_only": True},
    },
    "settings of LiteLLM with Aristote": {
        "router": {**ARISTOTE, "num_retries": 3, "aliases": {"gpt-4o": "tiny-coder"}},
        "postgres": {},
    },
    "settings of Aristote with LiteLLM": {"router": {"aristote": {"threshold": 3}}},
    "variables of Aristote": {
        "router": {**ARISTOTE, "env": {"LOG_LEVEL": "10"}},
        "postgres": {},
    },
    "variables of Aristote in small letters": {
        "router": {**ARISTOTE, "env": {"log_level": "10"}},
        "postgres": {},
    },
    "the account of Aristote as a variable": {
        "router": {**ARISTOTE, "env": {"ATELIER_ACCOUNT": "{}"}},
        "postgres": {},
    },
    "an organisation of a host without engines": {
        "hosts": TWO_HOSTS,
        "router": {**ARISTOTE, "aristote": {"organizations": {"10.0.0.2": "physics"}}},
        "postgres": {},
    },
    "an administration that Aristote has not": {
        "router": ARISTOTE,
        "postgres": {},
        "entry": {"router_admin": True, "router_admin_networks": ["10.0.5.0/24"]},
    },
    "a model that Aristote hides": {
        "router": ARISTOTE,
        "postgres": {},
        "models": [{**CODER_7B, "served_model_name": "coder-private"}],
    },
    "adapters with Aristote": {
        "router": ARISTOTE,
        "postgres": {},
        "engine": VLLM,
        "models": [{**CODER_7B, "lora_adapters": {"sql": "lab/sql"}}],
    },
    "an engine that calls its model otherwise, with Aristote": {
        "router": ARISTOTE,
        "postgres": {},
        "engine": TGI,
        "models": [CODER_7B],
    },
    "an engine whose name of a model none can ask for, with Aristote": {
        "router": ARISTOTE,
        "postgres": {},
        "engine": TENSORRT_LLM,
        "models": [CODER_7B],
    },
    "an organisation of a host that there is not": {
        "router": {**ARISTOTE, "aristote": {"organizations": {"gpu9": "physics"}}},
        "postgres": {},
    },
    "a routing mode that leads nowhere": {
        "router": {
            **ARISTOTE,
            "aristote": {"routing_mode": "private-only", "organizations": {"gpu1": "physics"}},
        },
        "postgres": {},
    },
    "an organisation with a space": {
        "router": {**ARISTOTE, "aristote": {"organization": "the lab"}},
        "postgres": {},
    },
    "a strategy that reads no metrics": {
        "router": {**ARISTOTE, "aristote": {"routing_strategy": "least-busy"}},
        "postgres": {},
        "engine": SGLANG,
        "models": [CODER_7B],
    },
    "many senders": {"router": {**ARISTOTE, "replicas": 8}, "postgres": {}, "entry": {}},
    "one router and two": {"router": {"port": 4002}, "routers": [ARISTOTE, LITELLM]},
    "two routers of a kind": {"routers": [ARISTOTE, LITELLM, {**LITELLM, "port": 4002}]},
    "two routers on a port": {"routers": [ARISTOTE, {}], "postgres": {}},
    "two routers on two hosts": {
        "hosts": TWO_HOSTS,
        "routers": [ARISTOTE, {**LITELLM, "host": "10.0.0.2"}],
    },
    "a router on a host that there is not": {"routers": [{**ARISTOTE, "host": "gpu9"}, LITELLM]},
    "models of one router": {"router": {"models": ["qwen2.5-coder-32b"]}},
    "models of two routers that are not served": {
        "routers": [ARISTOTE, {**LITELLM, "models": ["gpt-4o", "qwen2.5-coder-32b"]}],
        "postgres": {},
    },
    "a second router without a model": {
        "models": [{**AWQ, "roles": ["chat"]}],
        "routers": [ARISTOTE, LITELLM],
        "postgres": {},
    },
    "a main router without a model": {
        "hosts": [TWO],
        "models": [TYPES],
        "routers": [ARISTOTE, LITELLM],
        "postgres": {},
    },
    "models that requests would not find": {
        "hosts": [TWO],
        "models": [{**AWQ, "gpus": 1}, {**CODER_7B, "roles": ["chat"], "gpus": 1}],
        "routers": [{**LITELLM, "models": ["qwen2.5-coder-7b"]}, {**ARISTOTE, "port": 4002}],
        "postgres": {},
    },
    "two routers and one database": {
        "routers": [ARISTOTE, LITELLM],
        "postgres": {"router_database_url": {"env": "ROUTER_DB"}},
    },
    "two routers and no database": {"routers": [ARISTOTE, LITELLM]},
    "several of a router that no entry leads to": {
        "routers": [LITELLM, {**ARISTOTE, "port": 4002, "replicas": 2}],
        "postgres": {"max_connections": 60},
        "entry": {},
    },
    "an alias of a model that LiteLLM does not answer for": {
        "hosts": [TWO],
        "models": [{**CODER_7B, "roles": ["chat"], "gpus": 1}, TYPES],
        "routers": [ARISTOTE, {**LITELLM, "aliases": {"gpt-4o": "qwen2.5-coder-7b"}}],
        "postgres": {},
    },
    "the account of Aristote beside LiteLLM": {
        "routers": [ARISTOTE, LITELLM],
        "postgres": {},
        "people": [{"name": "atelier", "rpm_limit": 60}],
        "web_ui": {"people_only": True},
    },
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
    states = load_catalog().models["qwen3.6-35b-a3b"].config
    (tmp_path / "states.json").write_text(json.dumps(states), encoding="utf-8")
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


@pytest.mark.parametrize("kind", ["vllm", "sglang", "tgi", "tensorrt_llm", "ollama"])
def test_too_long_a_context_is_told_by_the_setting_that_says_it(kind: str, directory: Path) -> None:
    settings = {"hosts": [H100], "engine": {"kind": kind}, "models": [CODER_7B]}
    told = message_of({**settings, "context_tokens": 40_000}, directory)
    assert told.startswith("context_tokens: 40000 for qwen2.5-coder-7b")
    assert "max_model_len" not in told
    longest = [{**CODER_7B, "max_model_len": 40_000}]
    told = message_of({**settings, "models": longest}, directory)
    assert told.startswith("models[0].max_model_len: 40000 tokens")
