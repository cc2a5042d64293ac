"""vLLM's units of a replica that lies on several hosts."""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.changes.order import Pending, form_groups
from deploy.services import Tier, Unit
from tests.conftest import MakeArtefacts
from tests.golden import assert_golden

GOLDEN = Path(__file__).parent / "golden" / "nodes.json"
ASKED = "demo-vllm-qwen3-235b-a22b-0"
NODE = f"{ASKED}-node-1"


@pytest.fixture
def wide(make: MakeArtefacts) -> Artefacts:
    """A model on two hosts, the router on a third one."""
    return declared(make)


def declared(make: MakeArtefacts, **engine: Any) -> Artefacts:
    hosts = [{"name": f"10.0.0.{number}", "gpus": "8x h100"} for number in (1, 2)]
    return make(
        profile="20-users",
        hosts=[*hosts, {"name": "10.0.0.3"}],
        models=[{"name": "qwen3-235b-a22b", "max_model_len": 16384}],
        engine={"kind": "vllm", "nnodes": 2, "trusted_network": True} | engine,
        router={"host": "10.0.0.3"},
        web_ui=None,
        image_source="pull",
    )


def unit(artefacts: Artefacts, name: str) -> Unit:
    [found] = [unit for unit in artefacts.stack.units if unit.name == name]
    return found


def create(artefacts: Artefacts, name: str) -> list[str]:
    return unit(artefacts, name).create_arguments("demo", artefacts.secrets.digest)


def values(arguments: list[str], flag: str) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == flag]


def serve(artefacts: Artefacts, name: str) -> tuple[list[str], list[str]]:
    """The arguments of the program that runs vLLM, and of ``vllm serve``."""
    command = list(unit(artefacts, name).container.command)
    at = command.index("vllm")
    assert command[at : at + 2] == ["vllm", "serve"]
    return command[:at], command[at + 2 :]


def test_one_unit_for_each_host(wide: Artefacts) -> None:
    engines = [u for u in wide.stack.units if u.tier in {Tier.NODE, Tier.ENGINE}]
    assert [(u.tier, u.host, u.name) for u in engines] == [
        (Tier.NODE, "10.0.0.2", NODE),
        (Tier.ENGINE, "10.0.0.1", ASKED),
    ]
    assert {u.replica for u in engines} == {ASKED}
    # the other nodes wait for the first one, so they start before it
    assert Tier.NODE.position < Tier.ENGINE.position


def test_they_meet_at_the_first_host(wide: Artefacts) -> None:
    flags = argparse.ArgumentParser()
    flags.add_argument("model")
    for name in ("nnodes", "node-rank", "master-port", "tensor-parallel-size"):
        flags.add_argument(f"--{name}", type=int)
    for name in ("master-addr", "distributed-executor-backend", "host", "port"):
        flags.add_argument(f"--{name}")
    flags.add_argument("--headless", action="store_true")
    first, _ = flags.parse_known_args(serve(wide, ASKED)[1])
    second, _ = flags.parse_known_args(serve(wide, NODE)[1])
    for each in (first, second):
        assert (each.nnodes, each.master_addr, each.master_port) == (2, "10.0.0.1", 29501)
        assert each.distributed_executor_backend == "mp"
    assert (first.node_rank, first.headless, first.host, first.port) == (
        *(0, False),
        *("10.0.0.1", "8000"),
    )
    assert (second.node_rank, second.headless, second.host, second.port) == (1, True, None, None)


def test_all_but_their_place_is_the_same(wide: Artefacts) -> None:
    """Else a change of one would not be a change of the other."""
    first, second = serve(wide, ASKED)[1], serve(wide, NODE)[1]
    own = {"--headless", "--host", "--port", "--node-rank", "10.0.0.1", "8000", "0", "1"}
    assert [each for each in first if each not in own] == [e for e in second if e not in own]
    assert serve(wide, ASKED)[0][1:6] == ["10.0.0.1", "10.0.0.1", "29501", "2", "0"]
    assert serve(wide, NODE)[0][1:] == ["10.0.0.2", "10.0.0.1", "29501", "2", "1"]


@pytest.mark.parametrize("name", [ASKED, NODE])
def test_they_are_in_the_network_of_their_host(wide: Artefacts, name: str) -> None:
    arguments = create(wide, name)
    assert values(arguments, "--network") == ["host"]
    assert not {"--network-alias", "--publish", "--privileged"} & set(arguments)
    assert values(arguments, "--cap-drop") == ["ALL"]
    assert values(arguments, "--entrypoint") == ["python3"]
    assert values(arguments, "--gpus") == ['"device=0,1,2,3,4,5,6,7"']
    container = unit(wide, name).container
    assert container.env["VLLM_HOST_IP"] == unit(wide, name).host
    assert "demo-vllm-qwen3-235b-a22b" in container.volumes
    assert unit(wide, name).weights[0].repository == "Qwen/Qwen3-235B-A22B"


def test_the_program_is_what_is_mounted(wide: Artefacts) -> None:
    for name in (ASKED, NODE):
        found = unit(wide, name)
        assert found.config
        path = PurePosixPath(found.container.command[0])
        mount = found.container.mounts[path.parent]
        assert mount.source == str(found.config.directory)
        compile(str(found.config.files[path.name].content), path.name, "exec")


def test_ports_are_held_on_the_first_host(wide: Artefacts) -> None:
    assert unit(wide, ASKED).holds.ports == {8000, 29501}
    assert unit(wide, NODE).holds.ports == set()
    assert unit(wide, NODE).holds.gpus == unit(wide, ASKED).holds.gpus


def test_only_the_first_one_is_asked(wide: Artefacts) -> None:
    router = wide.stack.tier(Tier.ROUTER)[0]
    assert router.config
    rows = yaml.safe_load(str(router.config.files["config.yaml"].content))["model_list"]
    assert {row["litellm_params"]["api_base"] for row in rows} == {"http://10.0.0.1:8000/v1"}
    assert "http://10.0.0.1:8000/health" in unit(wide, ASKED).container.healthcheck.command
    assert unit(wide, NODE).container.healthcheck.command.endswith("; true")


def test_requests_stay_away_until_the_first_one_is_back(wide: Artefacts) -> None:
    first, second = unit(wide, ASKED).route, unit(wide, NODE).route
    assert first
    assert second
    assert (first.names, first.port, first.asked_on) == (second.names, 8000, "10.0.0.1")
    assert (first.stands_behind, second.stands_behind) == ("", ASKED)


def test_no_node_stands_in_for_another(wide: Artefacts) -> None:
    assert not any(wide.stack.stands_in(each) for each in wide.stack.units)


def test_a_model_that_makes_room_goes_first(wide: Artefacts) -> None:
    """What had the GPUs before is stopped as the node starts."""
    old = unit(wide, ASKED).holds
    found = unit(wide, NODE)
    pending = [
        Pending("old", Tier.STORE, "remove", old=old),
        Pending(found.name, found.tier, "create", new=found.holds),
    ]
    [group] = form_groups(pending, [])
    assert (group.tier, len(group.members)) == (Tier.NODE, 2)


def test_one_host_is_as_before(make: MakeArtefacts) -> None:
    found = declared(make, nnodes=1, trusted_network=False)
    engines = found.stack.tier(Tier.ENGINE)
    assert not found.stack.tier(Tier.NODE)
    assert {each.container.network for each in engines} == {"demo"}
    assert {each.replica for each in engines} == {""}


@pytest.mark.golden
def test_units_are_as_written(wide: Artefacts) -> None:
    units = [each for each in wide.stack.units if each.replica]
    # what is copied as it is has tests of its own
    left_out = {"config": {"files": True}}
    found = [
        each.model_dump(mode="json", exclude_defaults=True, exclude=left_out) for each in units
    ]
    assert_golden(GOLDEN, json.dumps(found, indent=1) + "\n")
