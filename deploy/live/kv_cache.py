"""The KV cache that an engine says it has, read from its log, and what was planned.

Lines, by release (vllm/v1/core/kv_cache_utils.py): ``# GPU blocks: 1381`` until 0.8 and with its
first engine; ``GPU KV cache size: 2,042,016 tokens`` since then, of each worker until 0.11;
``CPU KV cache size`` on CPUs since 0.27. ``Maximum concurrency for 2,048 tokens per request:
997.08x`` follows, in the same line or in one of its own. SGLang: ``max_total_num_tokens=581648,
chunked_prefill_size=8192, ...`` (sglang/srt/managers/scheduler.py). TGI: ``Setting max batch total
tokens to 466208`` (backends/v3/src/lib.rs). TensorRT-LLM: ``[MemUsageChange] Allocated 26.91 GiB
for max tokens in paged KV cache (220480).``, at first of a small one that it takes a step with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.live.connection import Connection
from deploy.live.inspect import parse_time
from deploy.plan.replica_plan import ReplicaPlan

SIZE = re.compile(r"KV cache size: ([\d,]+) tokens")
BLOCKS = re.compile(r"# GPU blocks: (\d+)")
CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
POOL = re.compile(r"(?:\bmax_total_num_tokens=|\bSetting max batch total tokens to )(\d+)")
PAGED = re.compile(r"for max tokens in paged KV cache \((\d+)\)")
BLOCK_TOKENS = 16
"""Of the releases that count blocks."""
TOLERANCE = 0.1
"""A larger difference from the plan is worth a warning."""


@dataclass(frozen=True)
class KvCacheLog:
    """What a start wrote into the log."""

    tokens: int
    """Tokens of the KV cache; of several workers' figures the smallest."""
    request_tokens: int | None = None
    """Tokens of the longest request."""
    concurrency: float | None = None
    """How many of those are held at once."""


def read_log(text: str) -> KvCacheLog | None:
    """The figures of a start.

    Args:
        text: the log of one start.

    Returns:
        ``None`` if it has none.
    """
    sizes = [int(size.replace(",", "")) for size in SIZE.findall(text)]
    sizes = sizes or [int(tokens) for tokens in POOL.findall(text)]
    sizes = sizes or [int(tokens) for tokens in PAGED.findall(text)[-1:]]
    sizes = sizes or [int(blocks) * BLOCK_TOKENS for blocks in BLOCKS.findall(text)]
    if not sizes:
        return None
    concurrent = [
        (float(times), int(tokens.replace(",", ""))) for tokens, times in CONCURRENCY.findall(text)
    ]
    if not concurrent:
        return KvCacheLog(min(sizes))
    times, tokens = min(concurrent)
    return KvCacheLog(min(sizes), tokens, times)


def kv_cache_text(found: KvCacheLog, planned: int) -> str:
    """E.g. ``KV cache 106,496 tokens, planned 104,928; 3.2 requests of 32,768 tokens at once``."""
    text = f"KV cache {found.tokens:,} tokens"
    if planned:
        text += f", planned {planned:,}"
    if found.concurrency is not None:
        text += f"; {found.concurrency:.1f} requests of {found.request_tokens:,} tokens at once"
    return text


def kv_cache_warning(found: KvCacheLog, planned: int, engine: str) -> str:
    """What to say where the plan is off; nothing where it is right, or there was none."""
    if not planned or abs(found.tokens - planned) <= TOLERANCE * planned:
        return ""
    share = abs(found.tokens - planned) / planned
    if found.tokens < planned:
        effect = "fewer people are answered at once than planned: others may use the memory"
    else:
        effect = "more people are answered at once than planned"
    more = "less" if found.tokens < planned else "more"
    return f"{engine} has {share:.0%} {more} KV cache than planned: {effect}"


def read_kv_cache(connection: Connection, name: str, replica: ReplicaPlan) -> KvCacheLog | None:
    """Look into the log of a replica's container, no further than its latest start.

    Args:
        connection: Docker of its host.
        name: name of its container.
        replica: what is planned.

    Returns:
        ``None`` if its log does not say, e.g. because it is full of what came later.
    """
    from docker.errors import NotFound

    try:
        container = connection.client.containers.get(name)
    except NotFound:
        return None
    started = int(parse_time(container.attrs["State"]["StartedAt"]))
    until = started + replica.engine.start_timeout_seconds
    return read_log(container.logs(since=started, until=until).decode("utf-8", "replace"))
