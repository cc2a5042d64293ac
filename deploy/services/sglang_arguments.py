"""The command line of ``sglang serve``.

Flags: ``sglang/srt/server_args.py`` and ``sglang/srt/arg_groups/fields`` of 0.5.21;
https://docs.sglang.io/docs/advanced_features/server_arguments
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.weights import model_directory

CONTAINER_PORT = 30000
FOR_EVER_SECONDS = 365 * 24 * 3600
"""SGLang's watchdog cannot be switched off."""
KV_CACHE_DTYPES = {"auto": "auto", "fp8": "fp8_e4m3"}
TOOL_CALL_PARSERS = {
    "deepseek_v3": "deepseekv3",
    "deepseek_v31": "deepseekv31",
    "deepseek_v32": "deepseekv32",
    "llama3_json": "llama3",
    "llama4_pythonic": "pythonic",
    "minimax_m2": "minimax-m2",
    "openai": "gpt-oss",
    "qwen3_xml": "qwen3_coder",
    "seed_oss": "",
}
"""What SGLang calls vLLM's parsers, which the catalogue names; empty where it has none. The names
of others are the same."""
REASONING_PARSERS = {
    "deepseek_r1": "deepseek-r1",
    "deepseek_v3": "deepseek-v3",
    "minimax_m2": "minimax",
    "nemotron_v3": "nemotron_3",
    "openai_gptoss": "gpt-oss",
    "seed_oss": "",
}
"""The same of parsers of thoughts."""


def arguments(replica: ReplicaPlan) -> tuple[str, ...]:
    """The arguments of ``sglang serve``.

    What sizing worked out is said explicitly: SGLang would take what is free on the card.
    """
    engine, weights, told = replica.engine, replica.weights, replica.sglang
    assert told is not None  # noqa: S101 - the plan of every replica of SGLang has it
    return (
        str(model_directory(replica)) if weights.directory else str(weights.repository),
        # else it looks into the model to find out whether that makes pictures
        *("--model-type", "llm"),
        *("--served-model-name", replica.served_model_name),
        *("--host", "0.0.0.0", "--port", str(CONTAINER_PORT)),  # noqa: S104 - in the container
        *("--tensor-parallel-size", str(replica.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(replica.pipeline_parallel_size)),
        *("--mem-fraction-static", f"{told.mem_fraction_static:g}"),
        *("--max-total-tokens", str(replica.kv_cache_tokens)),
        *("--context-length", str(replica.max_model_len)),
        *("--max-running-requests", str(replica.max_num_seqs)),
        *("--chunked-prefill-size", str(told.chunked_prefill_size)),
        *("--kv-cache-dtype", KV_CACHE_DTYPES[engine.kv_cache_dtype], "--dtype", engine.dtype),
        *_graphs(replica, told.graphed_requests),
        *("--enable-metrics", "--sleep-on-idle"),
        *_optional(replica),
        *_parsers(replica),
        *replica.extra_args,
    )


def _graphs(replica: ReplicaPlan, requests: int) -> tuple[str, ...]:
    if not replica.engine.enforce_eager:
        return ("--cuda-graph-max-bs-decode", str(requests))
    phases = ("--cuda-graph-backend-decode", "--cuda-graph-backend-prefill")
    return tuple(part for phase in phases for part in (phase, "disabled"))


def _optional(replica: ReplicaPlan) -> Iterator[str]:
    engine, told = replica.engine, replica.sglang
    hang = FOR_EVER_SECONDS if engine.hang_seconds == 0 else engine.hang_seconds
    flags = {
        "--revision": replica.weights.revision,
        "--quantization": replica.quantization,
        "--watchdog-timeout": hang,
        "--ep-size": replica.tensor_parallel_size if engine.enable_expert_parallel else None,
        "--fp4-gemm-backend": told.fp4_gemm_backend if told else None,
        "--max-mamba-cache-size": told.max_mamba_cache_size if told else None,
    }
    yield from (part for flag, value in flags.items() if value for part in (flag, str(value)))
    if engine.scheduling_policy == "priority":
        # as vLLM counts them, and as routers are told: lower numbers go first
        yield from ("--enable-priority-scheduling", "--schedule-low-priority-values-first")


def _parsers(replica: ReplicaPlan) -> Iterator[str]:
    tools, thoughts = replica.tool_call_parser, replica.reasoning_parser
    if tools and (name := TOOL_CALL_PARSERS.get(tools, tools)):
        yield from ("--tool-call-parser", name)
    if thoughts and (name := REASONING_PARSERS.get(thoughts, thoughts)):
        yield from ("--reasoning-parser", name)
