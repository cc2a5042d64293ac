"""On which host a driver is tried that replaces one which serves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.hosts.drivers.checks import driver_serves
from deploy.hosts.drivers.state import Amd, DriverState
from deploy.hosts.drivers.turns import tried_on, waits
from deploy.spec import DriverSpec, HostSpec
from tests.hosts.drivers import amd_host
from tests.hosts.drivers.host import after, declare, make_host, plan, restarted

CATALOG = load_catalog()


def hosts(*gpus: str, **driver: Any) -> list[HostSpec]:
    return [
        HostSpec(name=f"h{number}", gpus=text, driver=DriverSpec(**driver))
        for number, text in enumerate(gpus, 1)
    ]


@pytest.mark.parametrize(
    ("gpus", "running", "first"),
    [
        (("2x h100", "4x h100", "h100"), "h1 h2 h3", "h1 h1 h1"),
        (("2x h100", "4x l40s", "h100"), "h1 h2 h3", "h1 h2 h1"),
        # one that this run does not go to proves nothing
        (("2x h100", "4x h100", "h100"), "h2 h3", "h1 h2 h2"),
    ],
)
def test_the_first_of_each_kind(gpus: tuple[str, ...], running: str, first: str) -> None:
    found = tried_on(hosts(*gpus), CATALOG, running.split())
    expected = dict(zip(("h1", "h2", "h3"), first.split(), strict=True))
    assert {name: found[name] for name in running.split()} == {
        name: expected[name] for name in running.split()
    }


def test_another_declaration_is_another_kind() -> None:
    one, other = (
        hosts("h100", version="580.178.04") + hosts("h100", "h100", version="620.10.01")[1:]
    )
    found = tried_on([one, other], CATALOG, ["h1", "h2"])
    assert found == {"h1": "h1", "h2": "h2"}


def test_who_waits() -> None:
    bare = make_host()
    serving = restarted(after(bare, plan(declare(), bare)))
    newer = declare(version="580.199.01")
    upgrade = plan(newer, serving)
    assert waits(upgrade, "h2", "h1", serving=serves(newer, serving))
    assert not waits(upgrade, "h1", "h1", serving=serves(newer, serving))
    # nothing to lose
    assert not waits(plan(newer, bare), "h2", "h1", serving=serves(newer, bare))
    # nothing to do, or nothing to the driver
    assert not waits(plan(declare(), serving), "h2", "h1", serving=True)
    assert not waits(plan(declare(toolkit="install"), serving), "h2", "h1", serving=True)
    # once it is installed, the restart that it needs waits for no one
    upgraded = after(serving, upgrade)
    assert plan(newer, upgraded).reboot
    assert not waits(plan(newer, upgraded), "h2", "h1", serving=serves(newer, upgraded))


@pytest.mark.parametrize("before", ["amdgpu of the kernel", "amdgpu-dkms"])
def test_who_waits_with_cards_of_amd(before: str) -> None:
    bare = amd_host.make_amd_host("ubuntu-24.04")
    older = {"version": "30.30.3"} if before == "amdgpu-dkms" else {}
    serving = (
        amd_host.restarted(amd_host.after(bare, amd_host.plan(amd_host.declare(**older), bare)))
        if older
        else replace(bare, amd=Amd(has_kfd=True, gfx=("gfx942",)), loaded=frozenset({"amdgpu"}))
    )
    newer = amd_host.declare(version="31.40.1")
    upgrade = amd_host.plan(newer, serving)
    assert waits(upgrade, "h2", "h1", serving=serves(newer, serving))
    assert not waits(upgrade, "h1", "h1", serving=serves(newer, serving))
    assert not waits(amd_host.plan(newer, bare), "h2", "h1", serving=serves(newer, bare))


def serves(spec: HostSpec, state: DriverState) -> bool:
    return driver_serves(spec, state, CATALOG)
