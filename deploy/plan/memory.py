"""How much memory things take."""

from __future__ import annotations

from deploy.plan.placement import Seat
from deploy.plan.replica_plan import ReplicaPlan
from deploy.units import GIB, MIB

SERVER_BYTES = 8 * GIB
"""Memory of the host that the server of vLLM or SGLang takes; the weights pass through the page
cache."""
WORKER_BYTES = 6 * GIB
"""The same for each GPU's worker: CUDA, pinned buffers, compiled kernels."""
MAC_SERVER_BYTES = 1 * GIB
"""Memory that Ollama or llama-server itself takes on a Mac, whose GPU has none of its own."""
CPU_SERVER_BYTES = GIB // 2
"""Memory that llama-server itself takes on CPUs."""
PROMPT_CACHE = "LLAMA_ARG_CACHE_RAM"
"""The variable of llama-server that says how much memory it keeps prompts in, in MiB. A build of
before October 2025, which keeps none, passes it over; its flag would keep it from starting."""
PROMPT_CACHE_BYTES = 2 * GIB
"""Memory of the host that a limit has more on GPUs, for prompts."""
PROMPT_SHARE = 8
"""Of other limits, prompts have one part in so many."""


def prompt_cache_mib(replica: ReplicaPlan) -> int:
    """Memory of the host, in MiB, in which llama.cpp keeps prompts that it has read.

    Unless it is told, also by Ollama, which runs it, it takes up to 8 GiB, and is killed where its
    memory limit is smaller: it frees nothing before an allocation fails, and with a limit none does
    (``server_prompt_cache`` in tools/server/server-task.cpp). A shared Ollama runs one for each
    model that is loaded.
    """
    if replica.gpus and replica.engine.memory_limit is None:
        return PROMPT_CACHE_BYTES // MIB
    return replica.memory_limit_bytes // PROMPT_SHARE // replica.engine.most_loaded // MIB


def cpu_memory_bytes(weights_bytes: int, held_bytes: int) -> int:
    """Memory limit of llama.cpp on CPUs, in bytes, rounded up to whole GiB.

    Args:
        weights_bytes: size of the model's file.
        held_bytes: KV cache and buffers, which it takes when it starts; 0 where that is not known.
    """
    counted = weights_bytes + held_bytes + CPU_SERVER_BYTES
    with_prompts = counted * PROMPT_SHARE // (PROMPT_SHARE - 1)
    return max(container_memory_bytes(weights_bytes), -(-with_prompts // GIB) * GIB)


def container_memory_bytes(weights_bytes: int) -> int:
    """Memory limit of a llama.cpp container, in bytes, rounded up to whole GiB.

    The weights are mapped into memory once; half as much again leaves room for the KV cache and
    the compute buffers of small contexts, and one GiB for the server itself; what it keeps of
    prompts is a part of all that. An operator who needs a long context declares
    ``engine.memory_limit``.
    """
    return -(-(weights_bytes * 3 // 2 + GIB) // GIB) * GIB


def memory_next_to_gpus(seat: Seat, vendor: str, gguf_bytes: int) -> int:
    """What an engine on GPUs takes of the host's memory, in bytes.

    Args:
        seat: the replica, and its GPUs.
        vendor: who made them.
        gguf_bytes: what llama.cpp takes for its files; 0 of other engines.
    """
    sizing, engine = seat.sizing, seat.claim.engine
    if vendor == "apple":
        on_gpu = (
            sizing.weights_gib_per_gpu + sizing.overhead_gib_per_gpu + sizing.kv_cache_gib_per_gpu
        )
        return int(on_gpu * GIB) + MAC_SERVER_BYTES + PROMPT_CACHE_BYTES
    if engine.traits.weights == "safetensors":
        return SERVER_BYTES + len(seat.gpus) * WORKER_BYTES + engine.shm_size
    return gguf_bytes + PROMPT_CACHE_BYTES
