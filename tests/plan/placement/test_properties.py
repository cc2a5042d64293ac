"""What must hold for every placement."""

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
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
few = settings(max_examples=int(os.environ.get("PLACEMENT_EXAMPLES", "12")), deadline=None)


@few
@given(hosts, models, contexts)
def test_no_gpu_is_used_beyond_its_share_or_memory(
    hosts: Hosts, models: Models, context: int
) -> None:
    plan = plan_of(hosts, models, context)
    if plan is None:
        return
    assert all(share <= 0.9 + 1e-6 for share in shares(plan).values())
    for (host, gpu), gib in used_gib(plan).items():
        assert gib <= plan.host(host).usable_gib[gpu] * 0.9 + 0.01


@few
@given(hosts, models, contexts)
def test_every_gpu_exists_and_serves_a_model_once(
    hosts: Hosts, models: Models, context: int
) -> None:
    plan = plan_of(hosts, models, context)
    if plan is None:
        return
    for model in plan.models:
        taken = [
            (replica.host, gpu)
            for replica in plan.replicas_of(model.served_model_name)
            for gpu in replica.gpus
        ]
        assert len(taken) == len(set(taken))
        assert all(gpu < len(plan.host(host).gpus) for host, gpu in taken)


@few
@given(hosts, models, contexts)
def test_splits_are_legal(hosts: Hosts, models: Models, context: int) -> None:
    plan = plan_of(hosts, models, context)
    if plan is None:
        return
    for replica in plan.replicas:
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


@few
@given(hosts, models, contexts)
def test_a_plan_is_the_same_every_time(hosts: Hosts, models: Models, context: int) -> None:
    assert plan_of(hosts, models, context) == plan_of(hosts, models, context)
