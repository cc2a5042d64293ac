"""The command line of ``vllm serve``, the entry point of vLLM's images.

Flags: https://docs.vllm.ai/en/latest/cli/serve/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.weights import model_directory

CONTAINER_PORT = 8000
ADAPTERS = PurePosixPath("/adapters")


@dataclass(frozen=True)
class Node:
    """One of the hosts of a replica that lies on several."""

    rank: int
    """Which, from 0; only the first one answers."""
    address: str
    """Where the others reach it."""
    master: str
    """Address of the first one."""


def arguments(replica: ReplicaPlan, node: Node | None = None) -> tuple[str, ...]:
    """The arguments of ``vllm serve``.

    What sizing worked out is said explicitly: defaults changed between releases.
    """
    engine, weights = replica.engine, replica.weights
    return (
        str(model_directory(replica)) if weights.directory else str(weights.repository),
        *("--served-model-name", replica.served_model_name),
        *_listening(replica, node),
        *("--tensor-parallel-size", str(replica.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(replica.pipeline_parallel_size)),
        *_share(replica),
        *("--max-model-len", str(replica.max_model_len)),
        *("--max-num-seqs", str(replica.max_num_seqs)),
        *("--kv-cache-dtype", engine.kv_cache_dtype, "--dtype", engine.dtype),
        *_optional(replica),
        *_features(replica),
        *_speculative(replica),
        *replica.extra_args,
    )


def _listening(replica: ReplicaPlan, node: Node | None) -> tuple[str, ...]:
    """Where it answers, and where the hosts of a replica meet.

    Processes of one's own are what runs a replica on several hosts without Ray
    (``vllm/config/parallel.py`` of vLLM 0.32).
    """
    if node is None:
        return ("--host", "0.0.0.0", "--port", str(CONTAINER_PORT))  # noqa: S104 - in the container
    asked = ("--host", node.address, "--port", str(replica.port))
    return (
        *(("--headless",) if node.rank else asked),
        *("--distributed-executor-backend", "mp"),
        *("--nnodes", str(len(replica.hosts)), "--node-rank", str(node.rank)),
        *("--master-addr", node.master, "--master-port", str(replica.master_port)),
    )


def adapter_directories(replica: ReplicaPlan) -> dict[PurePosixPath, str]:
    """Directories of the host with adapters, by where they are in the container."""
    adapters = replica.lora_adapters.items()
    return {ADAPTERS / name: source for name, source in adapters if source.startswith("/")}


def _share(replica: ReplicaPlan) -> tuple[str, ...]:
    """Of a GPU's memory; on CPUs, a variable says how large the KV cache is."""
    if replica.cpu:
        return ()
    return ("--gpu-memory-utilization", f"{replica.gpu_memory_utilization:g}")


def _optional(replica: ReplicaPlan) -> Iterator[str]:
    engine = replica.engine
    flags = {
        "--revision": replica.weights.revision,
        "--quantization": replica.quantization,
        "--max-num-batched-tokens": engine.max_num_batched_tokens,
        "--kv-cache-memory-bytes": replica.memory and replica.memory.pinned_kv_cache_bytes,
        "--block-size": replica.cpu.block_size if replica.cpu else engine.block_size,
    }
    yield from (part for flag, value in flags.items() if value for part in (flag, str(value)))
    if engine.scheduling_policy != "fcfs":
        yield from ("--scheduling-policy", engine.scheduling_policy)
    if engine.enforce_eager:
        yield "--enforce-eager"
    if engine.enable_expert_parallel:
        yield "--enable-expert-parallel"


def _speculative(replica: ReplicaPlan) -> Iterator[str]:
    if replica.speculative:
        said = replica.speculative.model_dump(exclude_none=True)
        yield from ("--speculative-config", json.dumps(said))
    if replica.language_model_only:
        yield "--language-model-only"


def _features(replica: ReplicaPlan) -> Iterator[str]:
    if not replica.writes:
        # what it is converted to, embed or classify, follows from the architecture
        yield from ("--runner", "pooling")
    if replica.tool_call_parser:
        yield from ("--enable-auto-tool-choice", "--tool-call-parser", replica.tool_call_parser)
    if replica.reasoning_parser:
        yield from ("--reasoning-parser", replica.reasoning_parser)
    if replica.lora_adapters:
        yield from ("--enable-lora", "--max-loras", str(len(replica.lora_adapters)))
        if replica.max_lora_rank:
            yield from ("--max-lora-rank", str(replica.max_lora_rank))
        yield "--lora-modules"
        for name, source in replica.lora_adapters.items():
            yield f"{name}={ADAPTERS / name if source.startswith('/') else source}"
