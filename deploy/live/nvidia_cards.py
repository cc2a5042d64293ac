"""NVIDIA's cards at work, as nvidia-smi prints them.

Names of the fields: ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping

from deploy.live.card import CardUser, LiveCard, to_number

CARD = (
    *("index", "uuid", "name", "driver_version", "memory.used", "memory.total"),
    *("temperature.gpu", "power.draw", "power.limit", "utilization.gpu"),
)
PROCESS = ("gpu_uuid", "pid", "used_memory", "process_name")


def parse_nvidia(sections: Mapping[str, str]) -> tuple[LiveCard, ...]:
    """Cards from rows of ``CARD``, users from rows of ``PROCESS`` and a container's name."""
    users: dict[str, list[CardUser]] = {}
    for row in _rows(sections.get("nvidia_processes", "")):
        if len(row) > len(PROCESS):
            uuid, pid, memory, *name, container = row
            found = CardUser(int(pid), ", ".join(name), container.strip("/ "), to_number(memory))
            users.setdefault(uuid, []).append(found)
    rows = _rows(sections.get("nvidia", ""))
    return tuple(_card(row, users) for row in rows if len(row) == len(CARD))


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines(), skipinitialspace=True))


def _card(row: list[str], users: dict[str, list[CardUser]]) -> LiveCard:
    index, uuid, name, driver, *figures = row
    used, memory, temperature, power, limit, utilization = map(to_number, figures)
    return LiveCard(
        vendor="nvidia",
        index=int(index),
        name=name,
        driver_version=driver,
        memory_used_mib=used,
        memory_mib=memory,
        temperature_celsius=temperature,
        power_watts=power,
        power_limit_watts=limit,
        utilization_percent=utilization,
        users=tuple(users.get(uuid, ())),
    )
