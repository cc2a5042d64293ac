"""A router whose memory has grown ends, for Docker to start it again: LiteLLM gives none back.

It says that it is not healthy, so that the entry sends new requests to the others, and finishes
what it has begun. It begins only while all others are healthy and the database answers, which it
needs to start. The only router waits until it has nothing to answer, unless hardly any memory is
left: the kernel would end it at once, with all that it is answering.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from litellm.proxy.middleware.in_flight_requests_middleware import get_in_flight_requests
from litellm.proxy.shutdown.graceful_shutdown_manager import GracefulShutdownManager

LOOK_SECONDS = 30
"""Between two looks; routers look one after the other, so that two never begin at once."""
NOTICE_SECONDS = 10
"""Until the entry has noticed: it asks every 2 s, and believes the second answer."""
LITTLE_LEFT = 0.95
"""Share of the limit above which the only router does not wait for a quiet moment."""
CGROUPS = (
    ("memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Of version 2 and 1: what is used, and what of it is files that can be read again.
https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files"""

log = logging.getLogger("LiteLLM Proxy")


@dataclass(frozen=True)
class Recycling:
    """When a router ends."""

    above_bytes: int
    limit_bytes: int
    finish_seconds: int
    """How long answers may go on that have begun."""
    routers: tuple[str, ...]
    """Addresses of all of them."""
    has_database: bool
    own: int
    """Which of them this is."""

    @property
    def others(self) -> tuple[str, ...]:
        """Addresses of the others."""
        return self.routers[: self.own] + self.routers[self.own + 1 :]

    def seconds_to_next_look(self, now: float) -> float:
        """Until it is this router's turn to look."""
        turn = LOOK_SECONDS * self.own / len(self.routers)
        return LOOK_SECONDS - (now - turn) % LOOK_SECONDS


def memory_in_use(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the container uses, as ``docker stats`` counts them; 0 where nothing says so."""
    for used, details, name in CGROUPS:
        if (root / used).exists():
            rows = (line.split() for line in (root / details).read_text().splitlines())
            return int((root / used).read_text()) - int(dict(rows).get(name, 0))
    return 0


async def may_end(recycling: Recycling, used: int, client: httpx.AsyncClient) -> bool:
    """Whether the others can take over, and this one can start again."""
    little_left = used > LITTLE_LEFT * recycling.limit_bytes
    if not recycling.others and get_in_flight_requests() and not little_left:
        return False
    own = recycling.routers[recycling.own]
    ready = await _answer(client, own, "/health/readiness")
    if ready is None or (recycling.has_database and ready.json().get("db") != "connected"):
        return False
    asked = [_answer(client, other, "/health/liveliness") for other in recycling.others]
    return all(await asyncio.gather(*asked))


async def _answer(client: httpx.AsyncClient, address: str, path: str) -> httpx.Response | None:
    try:
        answer = await client.get(f"http://{address}{path}")
    except httpx.HTTPError:
        return None
    return answer if answer.status_code == httpx.codes.OK else None


async def watch(recycling: Recycling) -> None:
    """Look at the memory from time to time, and end once there is too much of it."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while True:
            await asyncio.sleep(recycling.seconds_to_next_look(time.time()))
            used = memory_in_use()
            if used > recycling.above_bytes and await may_end(recycling, used, client):
                log.warning("%d MiB of memory in use: starting again", used >> 20)
                return await end(recycling)


async def end(recycling: Recycling) -> None:
    """Answer what has been asked, and end."""
    if recycling.others:
        GracefulShutdownManager.start_shutdown()
        await asyncio.sleep(NOTICE_SECONDS)
    await GracefulShutdownManager.wait_for_drain(timeout=recycling.finish_seconds)
    os.kill(os.getpid(), signal.SIGTERM)
