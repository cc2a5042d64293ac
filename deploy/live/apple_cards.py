"""The GPU of a Mac at work, as far as macOS tells it to anybody.

``ioreg`` prints properties of the driver: ``PerformanceStatistics`` has what is in use of the
machine's memory, and how busy the GPU is; a client of it says which process it is of, and how long
the GPU worked for that. Temperature and power are told by powermetrics(1), and to root alone; what
memory a process has on the GPU, by nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploy.live.card import CardUser, LiveCard, to_number
from deploy.units import MIB

NOT_TOLD = "macOS tells temperature and power of its GPU to root only: sudo powermetrics."
MODEL = re.compile(r'"model" = "([^"]+)"')
CORES = re.compile(r'"gpu-core-count" = (\d+)')
USED = re.compile(r'"In use system memory"=(\d+)')
BUSY = re.compile(r'"Device Utilization %"=(\d+)')
CREATOR = re.compile(r'"IOUserClientCreator" = "pid (\d+), ([^"]*)"')
WORKED = re.compile(r'"accumulatedGPUTime"=(\d+)')


def parse_apple(sections: Mapping[str, str]) -> tuple[LiveCard, ...]:
    """The GPU; its memory is the limit that is set for it, else the machine's."""
    text = sections.get("apple", "")
    if not text:
        return ()
    lines = (line.partition(" ") for line in text.splitlines())
    said = {name: value for name, _, value in lines if name in {"system", "memory", "limit"}}
    limit, memory = to_number(said.get("limit")), to_number(said.get("memory"))
    used = _first(USED, text)
    name, cores = _first(MODEL, text) or "Apple GPU", _first(CORES, text)
    return (
        LiveCard(
            vendor="apple",
            index=0,
            name=f"{name}, {cores} cores" if cores else name,
            driver_version=f"macOS {said.get('system', '')}",
            memory_used_mib=int(used) / MIB if used else None,
            memory_mib=limit or (memory / MIB if memory else None),
            temperature_celsius=None,
            power_watts=None,
            power_limit_watts=None,
            utilization_percent=to_number(_first(BUSY, text)),
            users=_users(sections.get("apple_processes", "")),
        ),
    )


def _users(text: str) -> tuple[CardUser, ...]:
    """Processes that the GPU has worked for; each has several clients."""
    found: dict[int, CardUser] = {}
    for client in text.split("+-o "):
        creator = CREATOR.search(client)
        if creator and any(int(time) for time in WORKED.findall(client)):
            found[int(creator[1])] = CardUser(int(creator[1]), creator[2], "", None)
    return tuple(found[pid] for pid in sorted(found))


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
