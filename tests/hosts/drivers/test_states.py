"""docs/gpu-hosts/states.md: every state that tests put a host into, with what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import HostError
from deploy.hosts.finding import Finding
from tests.golden import assert_golden
from tests.hosts.drivers import amd_host, test_amd, test_findings, test_setup
from tests.hosts.drivers.host import declare, plan
from tests.hosts.drivers.test_findings import CARD, look, look_at_amd, read

PAGE = Path(__file__).parents[3] / "docs" / "gpu-hosts" / "states.md"
HEAD = """# What `atelier doctor` says of GPUs and their drivers

Written by `make golden` from the states that tests put hosts into. Names, versions and numbers are
examples.

"""
TABLE = "| found | what to do |\n|---|---|\n"


def parameters(test: Any) -> list[tuple[Any, ...]]:
    """What a parametrized test is called with."""
    marks = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    return list(marks[-1].args[1])


def wrong(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(row.found, row.fix or row.allowed) for row in findings if row.status != "ok"]


def of_nvidia() -> Iterator[tuple[str, str]]:
    for name in test_findings.BROKEN:
        yield from wrong(look(read(name)))
    for state, gpu, declared, _ in parameters(test_findings.test_what_works_less_well):
        yield from wrong(look(state, (replace(CARD, **gpu),), **declared))


def of_amd() -> Iterator[tuple[str, str]]:
    for state, *_ in test_findings.AMD_STATES.values():
        works = state.amd.has_kfd or "amdgpu" in state.loaded
        yield from wrong(look_at_amd(state, works=works))


def refused() -> Iterator[tuple[str, str]]:
    for state, settings, _ in parameters(test_setup.test_what_cannot_be_done_is_refused):
        yield from problems(lambda: plan(declare(**settings), state))  # noqa: B023
    for state, settings, _ in parameters(test_amd.test_what_cannot_be_done_is_refused):
        yield from problems(lambda: amd_host.plan(amd_host.declare(**settings), state))  # noqa: B023


def problems(decide: Any) -> Iterator[tuple[str, str]]:
    with pytest.raises(HostError) as refusal:
        decide()
    for problem in refusal.value.problems:
        yield problem.found, "; ".join(part for part in (problem.allowed, problem.fix) if part)


def table(rows: Iterable[tuple[str, str]]) -> str:
    cells = ([cell.replace("|", "\\|") for cell in row] for row in dict(rows).items())
    return TABLE + "".join(f"| {found} | {fix} |\n" for found, fix in cells)


def page() -> str:
    return (
        f"{HEAD}## NVIDIA\n\n{table(of_nvidia())}\n## AMD\n\n{table(of_amd())}\n"
        "## What a declared driver is refused for\n\nBefore anything is touched; what is allowed, "
        f"and what to do.\n\n{table(refused())}"
    )


@pytest.mark.golden
def test_the_page_of_states() -> None:
    assert_golden(PAGE, page())


def test_every_state_says_what_to_do() -> None:
    for found, fix in (*of_nvidia(), *of_amd(), *refused()):
        # of a power limit there is nothing to do but to know it
        assert fix or "limited to" in found, found
