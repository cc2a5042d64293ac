"""A deployment killed at any point is mended by running it again."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable

import pytest

from tests.e2e.names import NAME
from tests.e2e.site import Settings, Site

Change = Callable[..., Settings]

OPERATIONS = 14
"""Operations of a deployment with one engine and no web UI."""
KILLED_AT = (1, 5, 7, 8, 9, 10, 11, 14)
"""Before anything is changed, around each that changes something, and at the last."""
_flip = itertools.cycle(["first", "second"])


def kill_at_operation(site: Site, number: int, delay_seconds: float = 0) -> str:
    """Start a deployment and kill it when its n-th operation begins; returns what it printed."""
    printed, begun = "", 0
    with site.start() as process:
        assert process.stderr is not None
        for line in process.stderr:
            printed += line
            begun += "--> Starting" in line
            if begun == number:
                time.sleep(delay_seconds)
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL, printed
    return printed


def other_settings(changed: Change) -> Settings:
    """Settings that replace engine and router, different from the last ones."""
    value = next(_flip)
    return changed(engine__env={"ROUND": value}, router__env={"ROUND": value})


def mended(site: Site) -> None:
    """Running it again brings everything about, and once more changes nothing."""
    result = site.deploy()
    assert result.status == 0, result.output
    assert "a, b = b, a + b" in site.complete()
    assert set(site.snapshot()) == {f"{NAME}-llama-cpp-tiny-coder-0", f"{NAME}-litellm-0"}
    again = site.deploy()
    assert (again.status, again.succeeded) == (0, 0), again.output
    (environment,) = {site.settings["router"]["env"]["ROUND"]}
    assert f"ROUND={environment}" in site.container("litellm").attrs["Config"]["Env"]


def test_the_last_operation_is_among_them(site: Site) -> None:
    assert site.run("--dry").output.count('"op_hash"') == OPERATIONS == KILLED_AT[-1]


@pytest.mark.parametrize(
    "number",
    [pytest.param(at, marks=[pytest.mark.long] if at not in (8, 11) else []) for at in KILLED_AT],
)
def test_killed_between_operations(shared_site: Site, changed: Change, number: int) -> None:
    shared_site.write(other_settings(changed))
    kill_at_operation(shared_site, number)
    mended(shared_site)


@pytest.mark.parametrize(
    ("operation", "delay_seconds"),
    [
        (8, 1.5),
        pytest.param(11, 1.0, marks=pytest.mark.long),
        pytest.param(11, 6.0, marks=pytest.mark.long),
    ],
)
def test_killed_while_a_container_is_replaced(
    shared_site: Site, changed: Change, operation: int, delay_seconds: float
) -> None:
    shared_site.write(other_settings(changed))
    kill_at_operation(shared_site, operation, delay_seconds)
    mended(shared_site)


def test_killed_first_deployment(shared_site: Site, changed: Change) -> None:
    """From an empty host, killed while the first container starts."""
    shared_site.write(other_settings(changed))
    assert shared_site.atelier("down", "--volumes", "--yes").returncode == 0
    assert shared_site.snapshot() == {}
    kill_at_operation(shared_site, 8, 0.7)
    mended(shared_site)
