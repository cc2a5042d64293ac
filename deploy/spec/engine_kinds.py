"""The engines, and what each of them is: the one place that tells them apart by rules.

Rooms that plan, size or check ask here; how an engine is started is in its module of
``deploy/services``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

EngineKind = Literal["llama_cpp", "ollama", "sglang", "tensorrt_llm", "tgi", "vllm"]
WeightFormat = Literal["gguf", "safetensors"]


@dataclass(frozen=True)
class EngineTraits:
    """What an engine is."""

    title: str
    """What it is called in sentences."""
    weights: WeightFormat
    """What it loads: GGUF files, or a repository of Hugging Face or a directory."""
    shares_cache: bool
    """Whether requests share one KV cache, and GPUs each layer; others keep a slot for each
    request, and put each layer on one GPU."""
    on_cpus: bool = True
    """Whether Atelier runs it on CPUs."""
    more_roles: Mapping[str, str] = field(default_factory=dict)
    """What it serves apart from chat and completion."""
    model_settings: frozenset[str] = frozenset()
    """Settings of models that only some engines have, and this one has."""
    in_flight: tuple[str, ...] = ()
    """What it makes of unquantised weights while it loads them."""
    drafts: tuple[str, ...] = ()
    """Methods of drafting tokens that it is deployed with."""
    own_arguments: Mapping[str, str] = field(default_factory=dict)
    """Arguments that would contradict the plan, and what to do instead."""
    when_full: str = ""
    """What it does when running requests outgrow the KV cache; empty where they cannot."""
    has_pipelines: bool = True
    """Whether it can share the layers out over groups of GPUs."""
    even_stages: bool = False
    """Whether each of those groups must have as many layers as the others."""
    shares_cards: bool = True
    """Whether it can have a part of a card, next to other engines."""
    most_of_card: float = 1.0
    """The largest share of a card that it can be given."""
    reserves: bool = False
    """Whether a request takes room from its start for the longest that it may become."""
    quotes_nothing: bool = False
    """Whether its image takes arguments apart where they have spaces."""
    quantised_by: str = ""
    """Owner of the repositories with quantised weights that it is deployed with; empty where any
    may be."""
    fetches: bool = True
    """Whether weights that are not on this machine are fetched for it."""
    caveat: str = ""
    """What is said of every deployment with it."""


TEXT_ROLES = ("chat", "completion")
"""What every engine serves."""
WITHOUT_TEXT = {"embedding": "make embeddings", "rerank": "rank documents"}
"""Roles of models that write nothing, and what such a model does."""
PARSERS = frozenset({"tool_call_parser", "reasoning_parser"})

SLOTS = "declare max_num_seqs and max_model_len"
UNSAFE = "remove it: with it, clients could run tools or reach addresses from the engine's host"
LLAMA_CPP_ARGUMENTS: Mapping[str, str] = {
    **dict.fromkeys(("-m", "--model"), "declare the model's path"),
    **dict.fromkeys(("--host", "--port", "-fit", "--fit", "-dev", "--device"), "remove it"),
    **dict.fromkeys(("--models-dir", "--models-preset"), "declare several models"),
    **dict.fromkeys(("--tools", "--agent", "--ui-mcp-proxy", "--webui-mcp-proxy"), UNSAFE),
    **dict.fromkeys(("-c", "--ctx-size", "-np", "--parallel", "-kvu", "--kv-unified"), SLOTS),
    **dict.fromkeys(
        ("-ub", "--ubatch-size", "--swa-full"), "remove it: the plan is made without it"
    ),
    **dict.fromkeys(
        ("-ngl", "--gpu-layers", "--n-gpu-layers"), "declare the engine's n_gpu_layers"
    ),
    **dict.fromkeys(("-sm", "--split-mode"), "declare the engine's split_mode"),
    **dict.fromkeys(("-ts", "--tensor-split"), "declare the engine's tensor_split"),
    **dict.fromkeys(("-mg", "--main-gpu"), "remove it: the first GPU is the main one"),
    **dict.fromkeys(("-fa", "--flash-attn"), "declare the engine's flash_attn"),
    **dict.fromkeys(
        ("-ctk", "--cache-type-k", "-ctv", "--cache-type-v"), "declare the engine's kv_cache_dtype"
    ),
    **dict.fromkeys(
        ("-md", "--model-draft", "--spec-draft-model", "--spec-type"),
        "declare the model's speculative",
    ),
    "-a": "declare the model's served_model_name",
    "--alias": "declare the model's served_model_name",
    "--api-key": "declare secrets={'engine_api_key': Secret(...)}",
    "--api-key-file": "declare secrets={'engine_api_key': Secret(...)}",
}
"""As ``llama-server --help`` of build 11669 spells them."""
LLAMA_CPP_VARIABLES: Mapping[str, str] = {
    **dict.fromkeys(("LLAMA_ARG_TOOLS", "LLAMA_ARG_AGENT", "LLAMA_ARG_UI_MCP_PROXY"), ""),
    **dict.fromkeys(("LLAMA_ARG_MODELS_DIR", "LLAMA_ARG_MODELS_PRESET"), "several models"),
    **dict.fromkeys(("LLAMA_ARG_SWA_FULL", "LLAMA_ARG_UBATCH"), ""),
    **dict.fromkeys(("LLAMA_ARG_CACHE_TYPE_K", "LLAMA_ARG_CACHE_TYPE_V"), "kv_cache_dtype"),
    **dict.fromkeys(
        ("LLAMA_ARG_SPEC_TYPE", "LLAMA_ARG_SPEC_DRAFT_MODEL"), "the model's speculative"
    ),
    "LLAMA_ARG_FLASH_ATTN": "flash_attn",
    "LLAMA_ARG_KV_UNIFIED": "max_num_seqs and max_model_len",
    "LLAMA_ARG_N_GPU_LAYERS": "n_gpu_layers",
}
"""The same as variables, which Ollama passes on to its llama-server, and what to declare instead;
of others, the arguments that it is started with win."""

ENGINES: dict[EngineKind, EngineTraits] = {
    "llama_cpp": EngineTraits(
        "llama.cpp",
        weights="gguf",
        shares_cache=False,
        model_settings=frozenset({"speculative"}),
        drafts=("draft_model", "ngram"),
        own_arguments=LLAMA_CPP_ARGUMENTS,
        fetches=False,
    ),
    "ollama": EngineTraits("Ollama", weights="gguf", shares_cache=False),
    "sglang": EngineTraits(
        "SGLang",
        weights="safetensors",
        shares_cache=True,
        on_cpus=False,
        model_settings=PARSERS,
        in_flight=("fp8",),
        own_arguments={
            "--api-key": "declare secrets={'engine_api_key': Secret(...)}",
            "--mem-fraction-static": "declare the engine's gpu_memory_utilization",
            "--max-total-tokens": "declare the engine's gpu_memory_utilization",
            "--tp": "declare the engine's tensor_parallel_size",
            "--tp-size": "declare the engine's tensor_parallel_size",
            "--tensor-parallel-size": "declare the engine's tensor_parallel_size",
            "--pp-size": "declare the engine's pipeline_parallel_size",
            "--pipeline-parallel-size": "declare the engine's pipeline_parallel_size",
            "--ep": "declare the engine's enable_expert_parallel",
            "--ep-size": "declare the engine's enable_expert_parallel",
            "--expert-parallel-size": "declare the engine's enable_expert_parallel",
            "--swa-full-tokens-ratio": "remove it: the pool of sliding layers is planned",
            "--max-mamba-cache-size": "declare the engine's max_num_seqs",
            "--mamba-full-memory-ratio": "declare the engine's max_num_seqs",
            "--mamba-ssm-dtype": "remove it: states are planned as they are kept without it",
            "--moe-a2a-backend": "remove it: what GPUs send each other of experts is not planned",
            "--dp-size": "declare replicas; ranks of one engine are not deployed",
            "--data-parallel-size": "declare replicas; ranks of one engine are not deployed",
            "--attn-dp-size": "remove it",
            "--attention-data-parallel-size": "remove it",
            "--enable-dp-attention": "remove it",
            "--nnodes": "serve it on several hosts with engine kind vllm",
            "--node-rank": "serve it on several hosts with engine kind vllm",
            "--dist-init-addr": "serve it on several hosts with engine kind vllm",
            "--speculative-algorithm": "draft with engine kind vllm",
            "--enable-lora": "serve adapters with engine kind vllm",
            "--lora-paths": "serve adapters with engine kind vllm",
            "--config": "declare what is in that file",
            "--tokenizer-worker-num": "remove it: with several of them no key is asked for",
        },
        when_full="SGLang takes some of them back and computes them again later",
    ),
    "tensorrt_llm": EngineTraits(
        "TensorRT-LLM",
        weights="safetensors",
        shares_cache=True,
        on_cpus=False,
        model_settings=PARSERS,
        own_arguments={
            "--host": "remove it",
            "--port": "remove it",
            "--backend": "remove it: engines that are built beforehand are not deployed",
            "--free_gpu_memory_fraction": "declare the engine's gpu_memory_utilization",
            "--kv_cache_free_gpu_memory_fraction": "declare the engine's gpu_memory_utilization",
            "--max_batch_size": "declare the engine's max_num_seqs",
            "--max_num_tokens": "declare the engine's max_num_batched_tokens",
            "--max_seq_len": "declare the model's max_model_len",
            "--max_beam_width": "remove it",
            "--tp_size": "declare the engine's tensor_parallel_size",
            "--tensor_parallel_size": "declare the engine's tensor_parallel_size",
            "--pp_size": "declare the engine's pipeline_parallel_size",
            "--pipeline_parallel_size": "declare the engine's pipeline_parallel_size",
            "--cp_size": "remove it",
            "--context_parallel_size": "remove it",
            "--ep_size": "declare the engine's enable_expert_parallel",
            "--moe_expert_parallel_size": "declare the engine's enable_expert_parallel",
            "--cluster_size": "remove it",
            "--moe_cluster_parallel_size": "remove it",
            "--gpus_per_node": "remove it",
            "--config": "declare what is in that file",
            "--extra_llm_api_options": "declare what is in that file",
            "--revision": "declare weights='org/name@revision' of the model",
            "--server_role": "remove it",
            "--disagg_cluster_uri": "remove it",
            "--metadata_server_config_file": "remove it",
        },
        even_stages=True,
        shares_cards=False,
        most_of_card=0.9,
        reserves=True,
        quantised_by="nvidia",
        caveat="TensorRT-LLM's code is under Apache-2.0, its image under NVIDIA's own terms, and"
        " NGC, from which it is pulled, may ask for a login: docs/engines.md#tensorrt-llm",
    ),
    "tgi": EngineTraits(
        "TGI",
        weights="safetensors",
        shares_cache=True,
        on_cpus=False,
        in_flight=("fp8",),
        own_arguments={
            "--api-key": "remove it: TGI would show it in its log and among its arguments",
            "--num-shard": "declare the engine's tensor_parallel_size",
            "--sharded": "declare the engine's tensor_parallel_size",
            "--cuda-memory-fraction": "declare the engine's gpu_memory_utilization",
            "--max-batch-prefill-tokens": "declare the engine's max_num_batched_tokens",
            "--max-total-tokens": "declare the model's max_model_len",
            "--max-input-tokens": "declare the model's max_model_len",
            "--max-input-length": "declare the model's max_model_len",
            "--max-batch-total-tokens": "declare the engine's gpu_memory_utilization",
            "--lora-adapters": "serve adapters with engine kind vllm",
            "--speculate": "draft with engine kind vllm",
        },
        has_pipelines=False,
        shares_cards=False,
        most_of_card=0.9,
        reserves=True,
        quotes_nothing=True,
        caveat="TGI is archived upstream (its last release is of December 2025): it gets no fixes"
        " any more, not even for security; upstream itself recommends vLLM and SGLang instead",
    ),
    "vllm": EngineTraits(
        "vLLM",
        weights="safetensors",
        shares_cache=True,
        more_roles=WITHOUT_TEXT,
        model_settings=PARSERS
        | {"lora_adapters", "max_lora_rank", "speculative", "language_model_only"},
        in_flight=("fp8", "bitsandbytes"),
        drafts=("mtp", "eagle3", "draft_model", "ngram"),
        own_arguments={
            "--speculative-config": "declare the model's speculative",
            "--enable-expert-parallel": "declare the engine's enable_expert_parallel",
            "--nnodes": "declare the engine's nnodes",
            "--node-rank": "declare the engine's nnodes",
            "--headless": "declare the engine's nnodes",
            "--language-model-only": "declare the model's language_model_only",
            "--data-parallel-size": "declare replicas; ranks that share experts are sized, not"
            " deployed",
            "-dp": "declare replicas; ranks that share experts are sized, not deployed",
        },
        when_full="vLLM preempts the latest one and computes it again later",
    ),
}
"""Every engine, by the name that inventories have for it."""


def kinds_with(setting: str) -> tuple[EngineKind, ...]:
    """The engines that have a setting of models, or serve a role, that not all have."""
    return tuple(
        kind
        for kind, traits in ENGINES.items()
        if setting in traits.model_settings or setting in traits.more_roles
    )


def serves_any(kind: EngineKind, roles: Iterable[str]) -> bool:
    """Whether an engine serves a model for one of these roles at least."""
    return any(role in TEXT_ROLES or role in ENGINES[kind].more_roles for role in roles)
