"""Replacing units while nothing is sent to them: what is done where, in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import Config
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS

from deploy.artefacts import Artefacts
from deploy.operations.drained import DrainedCommand, drained
from deploy.operations.script import ScriptCommand
from tests.conftest import MakeArtefacts
from tests.operations.found import unit_named

ENGINE = "demo-llama-cpp-tiny-coder-0"
AWAY = f"/var/lib/atelier/deployments/demo/live/litellm/draining/{ENGINE}"
Ran = list[tuple[str, list[str]]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """The host and the arguments of each script that ran."""
    found: Ran = []

    def execute(self: Any, state: Any, host: Any, arguments: Any) -> tuple[bool, list[Any]]:
        assert set(arguments) <= {*CONNECTOR_ARGUMENT_KEYS}
        found.append((host.name, [str(getattr(bit, "obj", bit)) for bit in self.bits[4:]]))
        if "explode" in found[-1][1]:
            raise OSError("the connection broke")
        return "fail" not in found[-1][1], []

    monkeypatch.setattr(ScriptCommand, "execute", execute)
    return found


def script(word: str = "replace") -> ScriptCommand:
    return ScriptCommand("container.sh", word, redact=str)


class State:
    """What pyinfra knows of the hosts of a run."""

    def __init__(self, *names: str) -> None:
        data = SimpleNamespace(_sudo=True)
        self.config = Config()
        self.active_hosts = [
            SimpleNamespace(name=name, data=data, current_deploy_kwargs=None) for name in names
        ]
        self.inventory = self

    def get_host(self, name: str) -> Any:
        found = [host for host in self.active_hosts if host.name == name]
        return found[0] if found else SimpleNamespace(name=name)


def execute(command: Any, *hosts: str) -> bool:
    state: Any = State(*hosts)
    succeeded, _ = command.execute(state, state.active_hosts[0], {"_sudo": True})
    return bool(succeeded)


def test_requests_stay_away_until_it_is_replaced(demo: Artefacts, ran: Ran) -> None:
    command = drained(script(), [unit_named(demo, ENGINE)])
    assert execute(command, "@local")
    assert ran == [
        ("@local", ["away", AWAY, "1020", "120", "-", ENGINE]),
        ("@local", ["quiet", ENGINE, "8080", "120"]),
        ("@local", ["replace"]),
        ("@local", ["back", AWAY, "-"]),
    ]


@pytest.mark.parametrize("word", ["fail", "explode"])
def test_requests_come_back_after_a_failure(demo: Artefacts, ran: Ran, word: str) -> None:
    command = drained(script(word), [unit_named(demo, ENGINE)])
    if word == "explode":
        with pytest.raises(OSError, match="broke"):
            execute(command, "@local")
    else:
        assert not execute(command, "@local")
    assert ran[-1][1][0] == "back"


def test_the_entry_waits_for_the_answers_of_a_router(make: MakeArtefacts, ran: Ran) -> None:
    artefacts = make(router={"replicas": 2, "drain_seconds": 7}, entry={})
    execute(drained(script(), [unit_named(artefacts, "demo-litellm-0")]), "@local")
    away, quiet, *_ = [arguments for _, arguments in ran]
    assert away[3:5] == ["7", "demo-haproxy-0"]
    # where an entry has it that was told of another router beside it, too
    assert away[5:] == ["router/demo-litellm-0", "completions/demo-litellm-0"]
    assert quiet[-1] == "0"


def two_hosts(make: MakeArtefacts) -> Artefacts:
    return make(
        hosts=[{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}],
        models=[{"name": "tiny-coder", "replicas": 2}],
        router={"host": "a"},
    )


def test_a_router_on_another_host_is_told_there(make: MakeArtefacts, ran: Ran) -> None:
    unit = next(unit for unit in two_hosts(make).stack.units if unit.host == "b")
    execute(drained(script(), [unit]), "b", "a")
    assert [(host, arguments[0]) for host, arguments in ran] == [
        ("a", "away"),
        ("b", "quiet"),
        ("b", "replace"),
        ("a", "back"),
    ]


def test_an_entry_on_another_host_is_told_there(make: MakeArtefacts, ran: Ran) -> None:
    artefacts = make(
        hosts=[{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}],
        router={"host": "b", "listen": "10.0.0.2", "replicas": 2},
        entry={"host": "a", "names": ["10.0.0.1"]},
        web_ui=None,
    )
    execute(drained(script(), [unit_named(artefacts, "demo-litellm-1")]), "b", "a")
    assert [(host, arguments[0]) for host, arguments in ran] == [
        ("a", "away"),
        ("b", "quiet"),
        ("b", "replace"),
        ("a", "back"),
    ]
    assert ran[0][1][-2:] == ["router/demo-litellm-1", "completions/demo-litellm-1"]
    assert ran[1][1][1] == "demo-litellm-1"


def test_a_host_that_the_run_does_not_go_to_is_left_alone(make: MakeArtefacts, ran: Ran) -> None:
    unit = next(unit for unit in two_hosts(make).stack.units if unit.host == "b")
    execute(drained(script(), [unit]), "b")
    assert [arguments[0] for _, arguments in ran] == ["quiet", "replace"]


def test_what_need_not_wait_is_replaced_at_once(make: MakeArtefacts) -> None:
    command = script()
    web_ui = unit_named(make(), "demo-open-webui-0")
    hasty = unit_named(make(engine={"drain_seconds": 0}), ENGINE)
    assert drained(command, [web_ui, hasty]) is command
    assert drained(command, []) is command
    routed = drained(command, [unit_named(make(), ENGINE)])
    assert isinstance(routed, DrainedCommand)
    assert routed.get_raw_value() == command.get_raw_value()


def test_pyinfra_tells_how_to_run_commands_on_a_host() -> None:
    """What is assumed of pyinfra."""
    assert {"_sudo", "_sudo_password", "_su_user"} <= {*CONNECTOR_ARGUMENT_KEYS}


def test_requests_to_a_replica_on_two_hosts_stay_away_until_its_first_one_is_back(
    make: MakeArtefacts, ran: Ran
) -> None:
    hosts = [{"name": name} for name in ("10.0.0.1", "10.0.0.2", "10.0.0.3")]
    engine = {"kind": "vllm", "nnodes": 2, "trusted_network": True, "cpu_kvcache_space": 1}
    artefacts = make(
        hosts=hosts,
        models=[{"name": "qwen2.5-coder-0.5b"}],
        engine=engine,
        router={"host": "10.0.0.3"},
        web_ui=None,
    )
    asked = "demo-vllm-qwen2.5-coder-0.5b-0"
    node = unit_named(artefacts, f"{asked}-node-1")
    execute(drained(script(), [node]), *(host["name"] for host in reversed(hosts)))
    [away, quiet, replaced] = ran
    assert (away[0], away[1][0], away[1][1].rsplit("/", 1)[1]) == ("10.0.0.3", "away", asked)
    assert away[1][-1] == asked
    # the one that is asked has the connections, on the port of its host
    assert quiet == ("10.0.0.1", ["quiet", "-", "8000", "120"])
    assert replaced[1] == ["replace"]
    ran.clear()
    execute(drained(script(), [unit_named(artefacts, asked)]), *(h["name"] for h in hosts))
    assert [each[1][0] for each in ran] == ["away", "quiet", "replace", "back"]
    assert ran[-1][1][1].rsplit("/", 1)[1] == asked
