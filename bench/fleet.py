"""Many hosts without Docker: connections, facts and files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.ansible_stack import ANSIBLES, Login, Playbook, write_inventory
from bench.measure import Row, repeat
from bench.proxy import delaying_proxy
from bench.sshd import PORT, Fleet, run_fleet
from bench.stack import Run, Stack
from deploy.catalog import load_catalog

DEPLOY = str(Path(__file__).parent / "fleet_deploy.py")
FIRST, NOOP = "files, first time", "files, no change"
TIMES = 3
MANY = 20
"""From so many hosts on, everything is measured once: it takes minutes."""


def over_ssh(directory: Path, hosts: int, round_trip: float) -> Iterator[Row]:
    """Atelier's operations and Ansible's modules on so many hosts."""
    times = 1 if hosts >= MANY else TIMES
    where = f"{hosts} x SSH, {round_trip * 1000:.0f} ms"
    with ExitStack() as stack:
        fleet = stack.enter_context(run_fleet(directory, hosts))
        ports = {
            f"h{number}": stack.enter_context(delaying_proxy(address, PORT, round_trip))
            for number, address in enumerate(fleet.addresses)
        }
        atelier = Stack(directory, _settings(fleet, ports))
        playbook = _playbook(fleet, ports)
        runs: dict[str, Callable[[], Run]] = {
            "Atelier": partial(atelier.run, "-y", deploy=DEPLOY),
            **{tool: replace(playbook, mitogen=mitogen).run for tool, mitogen in ANSIBLES.items()},
        }
        for tool, run in runs.items():
            yield repeat(Row(where, FIRST, tool), 1, run, _counter(fleet))
            yield repeat(Row(where, NOOP, tool), times, run, _counter(fleet))
            shutil.rmtree(directory / "hosts", ignore_errors=True)


def _settings(fleet: Fleet, ports: dict[str, int]) -> dict[str, Any]:
    known = fleet.directory / ".ssh" / "known_hosts"
    known.parent.mkdir()
    known.write_text(fleet.known_hosts([f"[127.0.0.1]:{port}" for port in ports.values()]))
    login = {"address": "127.0.0.1", "ssh_user": fleet.user, "ssh_key": str(fleet.key)}
    hosts = [
        {"name": name, "ssh_port": port, "directory": str(_place(fleet, name))} | login
        for name, port in ports.items()
    ]
    return {
        "name": "bench",
        "profile": "individual",
        "hosts": hosts,
        "models": [{"name": "tiny-coder"}],
    }


def _playbook(fleet: Fleet, ports: dict[str, int]) -> Playbook:
    known = fleet.directory / ".ssh" / "known_hosts"
    model = load_catalog().models["tiny-coder"].path
    common = {"model_file": str(model), "engine": {"name": "engine", "model": "tiny-coder"}}
    hosts = {
        name: Login("127.0.0.1", port, fleet.user, fleet.key, known).variables()
        | common
        | {"directory": str(_place(fleet, name))}
        for name, port in ports.items()
    }
    return Playbook("files.yml", write_inventory(fleet.directory, hosts))


def _place(fleet: Fleet, name: str) -> Path:
    return fleet.directory / "hosts" / name


def _counter(fleet: Fleet) -> Callable[[], Callable[[], tuple[int, int]]]:
    def start() -> Callable[[], tuple[int, int]]:
        before = fleet.count()

        def counted() -> tuple[int, int]:
            now = fleet.count()
            return now[0] - before[0], now[1] - before[1]

        return counted

    return start
