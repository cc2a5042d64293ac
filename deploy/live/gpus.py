"""The cards of a host and who uses them, asked of its driver.

Names of the fields: ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``.
"""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass

from deploy.errors import HostError, Problem
from deploy.live.shell import run_once
from deploy.scripts import read_script
from deploy.spec import HostSpec

SCRIPT = "gpus.sh"
CARD = (
    *("index", "uuid", "name", "driver_version", "memory.used", "memory.total"),
    *("temperature.gpu", "power.draw", "power.limit", "utilization.gpu"),
)
PROCESS = ("gpu_uuid", "pid", "used_memory", "process_name")


@dataclass(frozen=True)
class CardUser:
    """A process that uses a card."""

    pid: int
    name: str
    """Its program."""
    container: str
    """The container that it is in; empty if it is in none."""
    memory_mib: float | None


@dataclass(frozen=True)
class LiveCard:
    """A card at work; ``None`` where it does not say."""

    index: int
    name: str
    driver_version: str
    memory_used_mib: float | None
    memory_mib: float | None
    temperature_celsius: float | None
    power_watts: float | None
    power_limit_watts: float | None
    utilization_percent: float | None
    users: tuple[CardUser, ...] = ()


def read_cards(host: HostSpec) -> tuple[LiveCard, ...]:
    """The NVIDIA cards of a host, and who uses each.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
        HostError: if its driver does not answer.
    """
    script = read_script(SCRIPT)
    words = ["sh", "-c", script, "atelier", ",".join(CARD), ",".join(PROCESS)]
    status, output = run_once(host, shlex.join(words))
    if status:
        said = " ".join(line for line in output.splitlines() if not line.startswith("@"))
        fix = "see why, and what to do: atelier doctor INVENTORY"
        raise HostError(Problem(f"host {host.name}", f"GPUs: {said}", "NVIDIA's driver", fix))
    return parse_cards(output)


def parse_cards(output: str) -> tuple[LiveCard, ...]:
    """What the script printed."""
    cards, _, processes = output.partition("@processes\n")
    users: dict[str, list[CardUser]] = {}
    for row in csv.reader(processes.splitlines(), skipinitialspace=True):
        if len(row) > len(PROCESS):
            uuid, pid, memory, *name, container = row
            found = CardUser(int(pid), ", ".join(name), container.strip("/ "), _number(memory))
            users.setdefault(uuid, []).append(found)
    rows = csv.reader(cards.splitlines(), skipinitialspace=True)
    return tuple(_card(row, users) for row in rows if len(row) == len(CARD))


def _card(row: list[str], users: dict[str, list[CardUser]]) -> LiveCard:
    index, uuid, name, driver, *figures = row
    used, memory, temperature, power, limit, utilization = map(_number, figures)
    return LiveCard(
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


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
