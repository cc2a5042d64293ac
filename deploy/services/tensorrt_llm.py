"""TensorRT-LLM: one model on NVIDIA's GPUs, by ``trtllm-serve`` and its PyTorch backend.

Flags: ``tensorrt_llm/commands/serve.py``; the file of settings that win over them:
``tensorrt_llm/llmapi/llm_args.py`` of https://github.com/NVIDIA/TensorRT-LLM. What its releases
call alike is said there, so that a newer image can be declared. It knows no key: routers alone
reach it, as they do Ollama.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import yaml

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.container import environment
from deploy.services.container_parts import Mount
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import gpu_variables
from deploy.services.host_files import ConfigFile
from deploy.services.hub_engine import replica_unit
from deploy.services.unit import Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.services.weights import (
    model_directory,
    weights_mounts,
    weights_variables,
)
from deploy.spec import SecretText

IMAGE = "tensorrt-llm"
PORT = 8000
CONFIG, FILE = PurePosixPath("/etc/atelier"), "config.yaml"
TOOL_PARSERS = {"hermes": "qwen3", "deepseek_v3": "deepseekv3", "deepseek_v31": "deepseekv3.1"}
"""What it calls vLLM's parsers, which the catalogue names; qwen3's takes what Hermes's does."""
NO_TOOL_PARSERS = frozenset(
    {"glm45", "glm47", "llama3_json", "llama4_pythonic", "mistral", "openai"}
)
"""Those of the catalogue's models that it has none for: calls of tools stay text. Of gpt-oss it
reads them, and its thoughts, itself (``tensorrt_llm/serve/harmony_adapter.py``)."""
REASONING_PARSERS = {"deepseek_r1": "deepseek-r1"}
"""The same of parsers of thoughts."""
NO_REASONING_PARSERS = frozenset({"deepseek_v3", "glm45", "openai_gptoss"})
"""The same of those that it has none for: thoughts stay in the answer."""


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("tensorrt_llm"):
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica: it calls its model what the weights are called."""
    name = context.replica_name(IMAGE, replica)
    own = openai_upstream(context, replica, name, PORT)
    return replace(own, upstream_model=itself(replica), has_key=False, has_responses=False)


def itself(replica: ReplicaPlan) -> str:
    """What it calls its model: the repository, or the last part of the directory."""
    if replica.weights.directory:
        return model_directory(replica).name
    return str(replica.weights.repository)


def arguments(replica: ReplicaPlan) -> tuple[str, ...]:
    """The command in the container."""
    told = replica.tensorrt_llm
    assert told is not None  # noqa: S101 - the plan of every replica of TensorRT-LLM has it
    weights = replica.weights
    model = str(model_directory(replica)) if weights.directory else str(weights.repository)
    return (
        *("trtllm-serve", "serve", model),
        *("--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - in the container
        *("--backend", "pytorch"),
        *("--tp_size", str(replica.tensor_parallel_size)),
        *("--pp_size", str(replica.pipeline_parallel_size)),
        *_whole_experts(replica),
        *("--max_batch_size", str(replica.max_num_seqs)),
        *("--max_num_tokens", str(told.max_num_tokens)),
        *("--max_seq_len", str(replica.max_model_len)),
        *("--kv_cache_free_gpu_memory_fraction", f"{told.free_gpu_memory_fraction:g}"),
        *("--extra_llm_api_options", str(CONFIG / FILE)),
        *_parsers(replica),
        *replica.extra_args,
    )


def settings(replica: ReplicaPlan) -> dict[str, Any]:
    """What no flag says, and what must not be lost where the file takes a flag's place."""
    engine, told = replica.engine, replica.tensorrt_llm
    assert told is not None  # noqa: S101 - the plan of every replica of TensorRT-LLM has it
    graphs = {"max_batch_size": replica.max_num_seqs, "enable_padding": True}
    revision = replica.weights.revision
    return {
        "kv_cache_config": {
            "free_gpu_memory_fraction": told.free_gpu_memory_fraction,
            "max_tokens": told.max_tokens,
            "dtype": engine.kv_cache_dtype,
            "enable_block_reuse": True,
        },
        # else it refuses prompts that are longer than a step
        "enable_chunked_prefill": True,
        "cuda_graph_config": None if engine.enforce_eager else graphs,
        **({"moe_config": {"backend": told.moe_backend}} if told.moe_backend else {}),
        **({"revision": revision} if revision else {}),
    }


def _whole_experts(replica: ReplicaPlan) -> Iterator[str]:
    if replica.engine.enable_expert_parallel:
        yield from ("--moe_expert_parallel_size", str(replica.tensor_parallel_size))


def _parsers(replica: ReplicaPlan) -> Iterator[str]:
    tools, thoughts = replica.tool_call_parser, replica.reasoning_parser
    if tools and tools not in NO_TOOL_PARSERS:
        yield from ("--tool_parser", TOOL_PARSERS.get(tools, tools))
    if thoughts and thoughts not in NO_REASONING_PARSERS:
        yield from ("--reasoning_parser", REASONING_PARSERS.get(thoughts, thoughts))


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    text = yaml.safe_dump(settings(replica), sort_keys=False)
    name = context.replica_name(IMAGE, replica)
    config = context.config_tree(replica.host, name, {FILE: ConfigFile(content=text)})
    return replica_unit(
        context,
        replica,
        IMAGE,
        IMAGE,
        port=PORT,
        config=config,
        command=arguments(replica),
        env=_environment(replica),
        mounts={
            **weights_mounts(context, replica),
            CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
        },
    )


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    return {
        # newer releases tell NVIDIA how they are used
        "TRTLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # it would keep what was asked at /v1/responses
        "TRTLLM_RESPONSES_API_DISABLE_STORE": "1",
        **gpu_variables(replica),
        **weights_variables(replica),
        **environment(replica.engine.env),
    }
