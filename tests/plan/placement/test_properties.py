"""What must hold for every placement."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.replica_plan import ReplicaPlan
from tests.examples import examples
from tests.plan.placement.deployments import (
    cards,
    contexts,
    counts,
    hosts,
    models,
    plan_of,
    shares,
    used_gib,
    users,
)

Hosts = list[tuple[int, str]]
Models = list[dict[str, Any]]
few = examples(6)


@examples(12)
@given(hosts, models, contexts)
def test_every_plan_is_possible(hosts: Hosts, models: Models, context: int) -> None:
    """Making a plan costs most: everything that holds for one is asked of each."""
    plan = plan_of(hosts, models, context)
    assert plan_of(hosts, models, context) == plan
    if plan is None:
        return
    no_gpu_is_used_beyond_its_share_or_memory(plan)
    every_gpu_exists_and_serves_a_model_once(plan)
    for replica in plan.replicas:
        split_is_legal(plan, replica)


def no_gpu_is_used_beyond_its_share_or_memory(plan: DeploymentPlan) -> None:
    assert all(share <= 0.9 + 1e-6 for share in shares(plan).values())
    for (host, gpu), gib in used_gib(plan).items():
        assert gib <= plan.host(host).usable_gib[gpu] * 0.9 + 0.01


def every_gpu_exists_and_serves_a_model_once(plan: DeploymentPlan) -> None:
    for model in plan.models:
        taken = [
            (replica.host, gpu)
            for replica in plan.replicas_of(model.served_model_name)
            for gpu in replica.gpus
        ]
        assert len(taken) == len(set(taken))
        assert all(gpu < len(plan.host(host).gpus) for host, gpu in taken)


def split_is_legal(plan: DeploymentPlan, replica: ReplicaPlan) -> None:
    architecture = read_architecture(load_catalog().models[replica.model].config)
    tp, pp = replica.tensor_parallel_size, replica.pipeline_parallel_size
    assert architecture.heads % tp == 0
    assert tp * pp == len(replica.gpus)
    assert len({plan.host(replica.host).gpus[gpu] for gpu in replica.gpus}) == 1
    assert replica.memory is not None
    # of sliding windows, a request takes less than its length
    if all(layer.kind == "full" for layer in architecture.layers):
        assert replica.kv_cache_tokens >= replica.max_model_len


@few
@given(counts, cards, models, contexts)
def test_more_gpus_never_serve_fewer(count: int, card: str, models: Models, context: int) -> None:
    before = users(plan_of([(count, card)], models, context))
    assert users(plan_of([(count + 1, card)], models, context)) >= before
    assert users(plan_of([(count, card), (1, "l40s")], models, context)) >= before


@few
@given(hosts, models, contexts, st.integers(1, 20000))
def test_more_context_never_serves_more(
    hosts: Hosts, models: Models, context: int, more: int
) -> None:
    less = users(plan_of(hosts, models, context))
    assert users(plan_of(hosts, models, context + more)) <= less


@few
@given(hosts, models, st.integers(1, 4))
def test_declared_replicas_are_exact(hosts: Hosts, models: Models, count: int) -> None:
    models = [{**models[0], "replicas": count}, *models[1:]]
    plan = plan_of(hosts, models, 4096)
    if plan is not None:
        assert len(plan.replicas_of(models[0]["name"])) == count
