"""What doctor says of containers that have lost their cards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.facts.units import Units, UnitsState
from deploy.hosts.subject import Subject
from deploy.live.inspect import live_container
from deploy.operations import doctor
from deploy.services.gpu_access import LOST
from tests.fake_host import inspect_row
from tests.operations.harness import FakeHost, run
from tests.services.test_gpu_engines import made


def found(artefacts: Artefacts, health: dict[str, Any]) -> list[str]:
    """What is said where the engine's health is as given."""
    subject = Subject(artefacts.host("gpu1"), artefacts.stack.on("gpu1"))
    engine = subject.units[0]
    row = inspect_row(engine, artefacts)
    row["State"]["Health"] = health
    live = live_container(row)
    host = FakeHost({Units: UnitsState(containers={engine.name: live})})
    said: list[str] = []

    def look() -> Iterator[None]:
        said.extend(row.found for row in doctor._without_gpu("lab", subject))
        yield from ()

    run(type("Operation", (), {"_inner": staticmethod(look)}), host)
    return said


@pytest.mark.parametrize(
    ("status", "output", "is_said"),
    [
        ("unhealthy", f"sh: 1: cannot open /dev/nvidiactl: not permitted\n{LOST}\n", True),
        ("unhealthy", "curl: (7) Failed to connect to 127.0.0.1 port 8000\n", False),
        # one failure alone is none yet
        ("healthy", f"{LOST}\n", False),
    ],
)
def test_a_container_that_lost_its_cards(
    tmp_path: Path, status: str, output: str, is_said: bool
) -> None:
    artefacts = made(tmp_path)
    health = {"Status": status, "Log": [{"Output": "", "ExitCode": 0}, {"Output": output}]}
    said = found(artefacts, health)
    name = artefacts.stack.on("gpu1")[0].name
    assert said == ([f"{name}: {LOST}"] if is_said else [])


def test_engines_without_cards_are_not_asked(tmp_path: Path) -> None:
    artefacts = made(tmp_path)
    spec = replace(Subject(artefacts.host("gpu1"), ()), units=artefacts.stack.on("gpu1")[1:])
    assert list(doctor._without_gpu("lab", spec)) == []
