"""Replicas that lie on several hosts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import Deployment
from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan
from tests.conftest import MakeArtefacts
from tests.plan.placement.deployments import CARDS

LARGE = {"name": "qwen3-235b-a22b"}
SMALL = {"name": "qwen2.5-coder-7b"}
ON_ONE = {"nnodes": 1, "trusted_network": False}


def hosts(count: int, gpus: str | None = "8x h100", first: int = 1) -> list[dict[str, Any]]:
    """Hosts that are alike; the router is on the first of all."""
    on = {"gpus": gpus} if gpus else {}
    return [{"name": f"10.0.0.{first + number}"} | on for number in range(count)]


def plan(
    declared: list[dict[str, Any]], models: list[dict[str, Any]], **engine: Any
) -> DeploymentPlan:
    engine = {"kind": "vllm", "nnodes": 2, "trusted_network": True} | engine
    spec = Deployment(name="wide", profile="20-users", hosts=declared, models=models, engine=engine)
    return make_plan(spec, load_catalog(), {})


def refused(
    declared: list[dict[str, Any]], models: list[dict[str, Any]], **engine: Any
) -> dict[str, str]:
    with pytest.raises(PlanError) as caught:
        plan(declared, models, **engine)
    return {
        problem.path: f"{problem.found}; {problem.allowed}" for problem in caught.value.problems
    }


def test_all_gpus_of_two_hosts() -> None:
    [replica] = plan(hosts(2), [LARGE]).replicas
    assert replica.hosts == ("10.0.0.1", "10.0.0.2")
    assert replica.gpus == tuple(range(8))
    assert replica.tensor_parallel_size == 8
    assert replica.pipeline_parallel_size == 2


def test_it_has_ports_although_the_router_is_on_its_first_host() -> None:
    [replica] = plan(hosts(2), [LARGE], port=8100, master_port=29700).replicas
    assert (replica.port, replica.master_port) == (8100, 29700)


def test_a_replica_on_one_host_has_no_master_port() -> None:
    [replica] = plan(hosts(1, "1x h100"), [SMALL], **ON_ONE).replicas
    assert (replica.other_hosts, replica.port, replica.master_port) == ((), None, None)


def test_it_gets_the_first_hosts_that_are_alike_and_others_get_the_rest() -> None:
    declared = [*hosts(1, "1x l40s"), *hosts(2, first=2)]
    own = {"kind": "vllm", "nnodes": 2, "trusted_network": True}
    models: list[dict[str, Any]] = [LARGE | {"engine": own}, SMALL]
    found = plan(declared, models, nnodes=1)
    by_model = {replica.model: replica.hosts for replica in found.replicas}
    assert by_model["qwen3-235b-a22b"] == ("10.0.0.2", "10.0.0.3")
    assert by_model["qwen2.5-coder-7b"] == ("10.0.0.1",)


def test_two_replicas_of_two_hosts_each() -> None:
    found = plan(hosts(4), [LARGE | {"replicas": 2}])
    assert [replica.hosts for replica in found.replicas] == [
        ("10.0.0.1", "10.0.0.2"),
        ("10.0.0.3", "10.0.0.4"),
    ]
    assert found.concurrent_users == sum(replica.concurrent_users for replica in found.replicas)


def test_layers_that_not_all_gpus_can_share_are_shared_out_within_a_host_too() -> None:
    """28 attention heads of 4 groups: 8 GPUs cannot share a layer, 4 can."""
    [replica] = plan(hosts(2), [SMALL]).replicas
    assert (replica.tensor_parallel_size, replica.pipeline_parallel_size) == (4, 4)
    assert len(replica.gpus) == 8


def test_a_declared_split() -> None:
    [replica] = plan(hosts(2), [SMALL], tensor_parallel_size=2, pipeline_parallel_size=4).replicas
    assert (replica.tensor_parallel_size, replica.pipeline_parallel_size) == (2, 4)
    assert replica.gpus == (0, 1, 2, 3)


def test_what_it_is_told_of() -> None:
    said = " ".join(plan(hosts(2), [LARGE]).warnings)
    assert "must reach each other on every TCP port" in said
    assert "the link between the hosts" in said
    assert "the whole replica stops" in said


@pytest.mark.parametrize(
    ("declared", "path", "text"),
    [
        (hosts(1), "engine.nnodes", "at most 1, hosts with the same GPUs"),
        ([*hosts(1), *hosts(1, "4x h100", 2)], "engine.nnodes", "at most 1, hosts with the same"),
        ([*hosts(1), *hosts(1, "8x l40s", 2)], "engine.nnodes", "at most 1, hosts with the same"),
        ([*hosts(1), {"name": "gpu-2", "gpus": "8x h100"}], "hosts[1].address", "'gpu-2'"),
        ([*hosts(1), {"name": "@local", "gpus": "8x h100"}], "hosts[1].address", "not set"),
        (
            [*hosts(1), {"name": "gpu-2", "address": "127.0.0.1", "gpus": "8x h100"}],
            "hosts[1].address",
            "'127.0.0.1'",
        ),
    ],
)
def test_hosts_that_cannot_be(declared: list[dict[str, Any]], path: str, text: str) -> None:
    assert text in refused(declared, [LARGE])[path]


@pytest.mark.parametrize(
    ("engine", "path"),
    [
        ({"pipeline_parallel_size": 3}, "engine.pipeline_parallel_size"),
        ({"tensor_parallel_size": 4, "pipeline_parallel_size": 6}, "engine.pipeline_parallel_size"),
        ({"trusted_network": False}, "engine.trusted_network"),
        ({"master_port": 8000}, "engine.master_port"),
    ],
)
def test_settings_that_cannot_be(engine: dict[str, Any], path: str) -> None:
    assert path in refused(hosts(2), [SMALL], **engine)


def test_it_has_whole_hosts() -> None:
    assert "models[0].gpus" in refused(hosts(2), [SMALL | {"gpus": 2}])


def test_what_does_not_fit() -> None:
    found = refused(hosts(2, "1x rtx-4090"), [LARGE])
    assert "does not fit on 2 hosts with 1x rtx-4090" in found["models[0].name"]


def test_nothing_is_left_for_another_model() -> None:
    own = {"kind": "vllm", "nnodes": 2, "trusted_network": True}
    found = refused(hosts(2), [LARGE | {"engine": own}, SMALL], nnodes=1)
    assert "have all GPUs" in found["models[1].name"]


def test_other_engines_have_no_nodes(make: MakeArtefacts) -> None:
    with pytest.raises(Exception, match="ollama has no such setting"):
        make(engine={"kind": "ollama", "nnodes": 2})


def test_on_cpus_each_host_has_a_stage() -> None:
    [replica] = plan(hosts(2, None), [SMALL], cpu_kvcache_space=2).replicas
    assert replica.hosts == ("10.0.0.1", "10.0.0.2")
    assert (replica.tensor_parallel_size, replica.pipeline_parallel_size) == (1, 2)
    assert replica.cpu
    assert replica.cpu.omp_threads_bind == "auto"
    [alone] = plan(hosts(1, None), [SMALL], **ON_ONE, cpu_kvcache_space=2).replicas
    assert replica.memory_limit_bytes == alone.memory_limit_bytes


def test_more_nodes_than_hosts_without_gpus() -> None:
    assert "at most 1" in refused(hosts(1, None), [SMALL])["engine.nnodes"]
    listed = refused(hosts(2, None), [SMALL], cpu_omp_threads_bind="0-1|2-3")
    assert "engine.cpu_omp_threads_bind" in listed


@given(
    card=st.sampled_from(CARDS),
    gpus=st.integers(1, 8),
    count=st.integers(2, 5),
    nodes=st.integers(2, 4),
    replicas=st.sampled_from((None, 1, 2)),
)
def test_every_plan_is_one_that_vllm_takes(
    card: str, gpus: int, count: int, nodes: int, replicas: int | None
) -> None:
    model = {"name": "qwen2.5-coder-32b", "quantization": "awq", "replicas": replicas}
    try:
        found = plan(hosts(count, f"{gpus}x {card}"), [model], nnodes=nodes)
    except PlanError:
        return
    used = [host for replica in found.replicas for host in replica.hosts]
    assert len(used) == len(set(used)) == nodes * (replicas or 1)
    for replica in found.replicas:
        world = replica.tensor_parallel_size * replica.pipeline_parallel_size
        # a host has as many ranks as GPUs of it are used, and whole stages
        assert world == nodes * len(replica.gpus)
        assert len(replica.gpus) % replica.tensor_parallel_size == 0
        assert len(replica.gpus) <= gpus
        assert replica.memory
        assert replica.memory.total_gib <= 0.9 * max(found.hosts[0].usable_gib) + 0.01
        assert replica.concurrent_users >= 1
