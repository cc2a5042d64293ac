"""How much memory things take."""

from __future__ import annotations

from deploy.units import GIB

PROMPT_CACHE_BYTES = 2 * GIB
"""Memory of the host in which llama.cpp keeps what it has read, with GPUs (``--cache-ram``); 8 GiB
unless it is told, also by Ollama, which runs it."""


def container_memory_bytes(weights_bytes: int) -> int:
    """Memory limit of a llama.cpp container, in bytes, rounded up to whole GiB.

    The weights are mapped into memory once; half as much again leaves room for the KV cache and
    the compute buffers of small contexts, and one GiB for the server itself. An operator who
    needs a long context declares ``engine.memory_limit``.
    """
    return -(-(weights_bytes * 3 // 2 + GIB) // GIB) * GIB
