"""Units that rest while something is done to their host: what is done, in which order."""

from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api import FunctionCommand
from pyinfra.context import ctx_host

from deploy.artefacts import Artefacts
from deploy.facts.units import Units, UnitsState
from deploy.operations.rested import RestedCommand, serving, told
from deploy.operations.script import ScriptCommand
from tests.operations.found import live, unit_named
from tests.operations.harness import FakeHost
from tests.operations.test_drained import Ran, State, ran  # noqa: F401 - a fixture

ENGINE, ROUTER = "demo-llama-cpp-tiny-coder-0", "demo-litellm-0"
AWAY = f"/var/lib/atelier/deployments/demo/live/litellm/draining/{ENGINE}"


def execute(demo: Artefacts, outcome: bool, *, connected: bool = True, **options: Any) -> bool:
    """Let both rest while something is done that succeeds or not."""
    units = [unit_named(demo, ENGINE), unit_named(demo, ROUTER)]
    work = FunctionCommand(_work, (outcome,), {})
    state: Any = State("@local")
    host = state.active_hosts[0]
    host.connected, host.log = connected, lambda _line: None
    return RestedCommand([work], units, demo, **options).execute(state, host, {"_sudo": True})


def _work(state: Any, host: Any, outcome: bool) -> bool:
    return outcome


def actions(ran: Ran) -> list[str]:  # noqa: F811
    return [" ".join(words) for _, words in ran]


def test_the_order(demo: Artefacts, ran: Ran) -> None:  # noqa: F811
    assert execute(demo, True)
    assert actions(ran) == [
        f"away {AWAY} 1020 120 - {ENGINE}",
        f"quiet {ENGINE} 8080 120",
        f"stop 60 {ROUTER} {ENGINE}",
        "up 120",
        f"start {ENGINE} 600",
        f"back {AWAY} -",
        f"start {ROUTER} 180",
    ]


def test_after_work_that_failed_units_stay_as_they_are(demo: Artefacts, ran: Ran) -> None:  # noqa: F811
    """A host that has not come back: requests stay away until the lease ends, or the next run."""
    assert not execute(demo, False)
    assert actions(ran)[-1] == f"stop 60 {ROUTER} {ENGINE}"


def test_units_start_again_where_the_host_is_still_there(demo: Artefacts, ran: Ran) -> None:  # noqa: F811
    assert not execute(demo, False, starts_anyway=True)
    assert actions(ran)[-1] == f"start {ROUTER} 180"
    ran.clear()
    assert not execute(demo, False, starts_anyway=True, connected=False)
    assert actions(ran)[-1].startswith("stop")


def test_what_is_replaced_anyway_does_not_start_again(demo: Artefacts, ran: Ran) -> None:  # noqa: F811
    leaving = [ENGINE, "demo-old"]
    assert execute(demo, True, leaving=leaving)
    assert actions(ran)[2:] == [
        f"stop 60 {ROUTER} {ENGINE} demo-old",
        "up 120",
        f"start {ROUTER} 180",
    ]
    ran.clear()
    assert not execute(demo, False, leaving=leaving, starts_anyway=True)
    assert actions(ran)[4:] == [
        f"start {ENGINE} 600",
        f"back {AWAY} -",
        f"start {ROUTER} 180",
        "start demo-old 600",
    ]


def test_who_rests(demo: Artefacts) -> None:
    engine, router = live(demo, ENGINE), live(demo, ROUTER, state="exited")
    found = UnitsState(containers={engine.name: engine, router.name: router})
    with ctx_host.use(FakeHost({Units: found}, name="@local")):
        units = serving(demo)
    assert [unit.name for unit in units] == [ENGINE]
    assert told(units, demo) == (f"{ENGINE} rests meanwhile; nothing else serves it",)


@pytest.mark.parametrize("word", ["stop", "up"])
def test_a_step_that_fails_is_the_last(
    demo: Artefacts,
    ran: Ran,  # noqa: F811
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    run = ScriptCommand.execute

    def fail(self: Any, state: Any, host: Any, arguments: Any) -> Any:
        _, output = run(self, state, host, arguments)
        return ran[-1][1][0] != word, output

    monkeypatch.setattr(ScriptCommand, "execute", fail)
    assert not execute(demo, True)
    assert actions(ran)[-1].startswith(word)
