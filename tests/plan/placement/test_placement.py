"""Placements that one can check by hand."""

from pathlib import Path
from typing import Any

from deploy import Deployment
from deploy.catalog import load_catalog
from deploy.model_files import read_model_files
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan
from deploy.plan.replica_plan import ReplicaPlan
from tests.plan.placement.deployments import plan_of, shares

CHAT = {"name": "qwen2.5-coder-32b", "quantization": "awq", "roles": ["chat"]}
ON_CPU = {"kind": "llama_cpp", "n_gpu_layers": 0}
SMALL = {"name": "qwen2.5-coder-1.5b-base"}


def made(**settings: Any) -> DeploymentPlan:
    spec, catalog = Deployment(**{"name": "lab", **settings}), load_catalog()
    return make_plan(spec, catalog, read_model_files(spec, catalog, Path()))


def where(replica: ReplicaPlan) -> tuple[str, str, tuple[int, ...]]:
    return replica.served_model_name, replica.host, replica.gpus


def test_two_models_share_one_card() -> None:
    plan = plan_of([(1, "l40s")], [CHAT, SMALL], 8192)
    assert plan is not None
    assert [replica.gpus for replica in plan.replicas] == [(0,), (0,)]
    assert round(sum(shares(plan).values()), 4) == 0.9
    assert any("share GPUs" in warning for warning in plan.warnings)


def test_declared_gpus_are_kept_apart() -> None:
    plan = plan_of([(4, "h100")], [{**CHAT, "gpus": 3}, {**SMALL, "gpus": 1}], 8192)
    assert plan is not None
    assert {replica.gpus for replica in plan.replicas} == {(0,), (1,), (2,), (3,)}
    assert len(plan.replicas_of("qwen2.5-coder-32b")) == 3


def test_a_declared_share_is_rendered() -> None:
    plan = plan_of([(1, "l40s")], [CHAT, {**SMALL, "gpus": 0.2}], 8192)
    assert plan is not None
    assert [replica.gpu_memory_utilization for replica in plan.replicas] == [0.7, 0.2]


def test_cards_of_two_kinds_are_used_together_where_that_serves_more() -> None:
    plan = made(
        hosts=[{"name": "gpu1", "gpus": ["rtx-3090", "rtx-4090"]}],
        engine={"kind": "vllm"},
        models=[CHAT],
    )
    assert plan.replicas[0].gpus == (0, 1)
    assert plan.replicas[0].tensor_parallel_size == 2


def test_the_indices_are_those_of_the_host() -> None:
    plan = made(
        hosts=[{"name": "gpu1", "gpus": ["t4", "l40s", "t4"]}],
        engine={"kind": "vllm"},
        models=[CHAT],
    )
    assert [replica.gpus for replica in plan.replicas] == [(0, 2), (1,)]
    assert len({replica.max_model_len for replica in plan.replicas}) == 1


def test_gpus_that_hold_nothing_stay_unused() -> None:
    plan = made(
        hosts=[{"name": "gpu1", "gpus": ["t4", "l40s"]}], engine={"kind": "vllm"}, models=[CHAT]
    )
    assert [replica.gpus for replica in plan.replicas] == [(1,)]
    assert "gpu1: GPU 0 (t4) stays unused" in plan.warnings


def test_a_pipeline_only_where_heads_do_not_divide() -> None:
    plan = plan_of([(3, "rtx-4090")], [{"name": "qwen2.5-coder-14b"}], 4096)
    assert plan is not None
    assert plan.replicas[0].pipeline_parallel_size == 1
    model = {"name": "qwen2.5-coder-14b", "engine": {"kind": "vllm", "pipeline_parallel_size": 3}}
    declared = plan_of([(3, "rtx-4090")], [model], 4096)
    assert declared is not None
    assert declared.replicas[0].pipeline_parallel_size == 3


def test_a_host_of_two_cards_and_a_cpu_host() -> None:
    plan = made(
        hosts=[{"name": "10.0.0.1"}, {"name": "10.0.0.2", "gpus": "2x rtx-3090"}],
        engine={"kind": "vllm"},
        models=[CHAT, {"name": "tiny-coder", "engine": ON_CPU}],
    )
    chat, tiny = plan.replicas
    assert where(chat) == ("qwen2.5-coder-32b", "10.0.0.2", (0, 1))
    assert where(tiny) == ("tiny-coder", "10.0.0.1", ())
    assert (chat.is_linked, tiny.is_linked) == (True, False)


def test_replicas_on_other_hosts_are_reached_through_links() -> None:
    hosts = [{"name": f"10.0.0.{n}", "gpus": "2x l40s"} for n in (1, 2)]
    engine = {"kind": "vllm"}
    plan = made(hosts=hosts, engine=engine, models=[{**CHAT, "replicas": 4}])
    assert [(each.host, each.gpus, each.port, each.is_linked) for each in plan.replicas] == [
        ("10.0.0.1", (0,), None, False),
        ("10.0.0.1", (1,), None, False),
        ("10.0.0.2", (0,), None, True),
        ("10.0.0.2", (1,), None, True),
    ]
    assert plan.links
    [hop] = plan.links.hops
    assert (hop.client, plan.links.ends) == ("10.0.0.1", ("10.0.0.2",))
    assert [replica.index for replica in plan.replicas] == [0, 1, 2, 3]


def test_ollama_takes_as_few_gpus_as_hold_the_model() -> None:
    plan = made(
        hosts=[{"name": "gpu1", "gpus": "2x rtx-3060"}],
        engine={"kind": "ollama", "max_num_seqs": 1},
        models=[{"name": "qwen2.5-coder-7b"}],
    )
    assert [replica.gpus for replica in plan.replicas] == [(0,), (1,)]
    assert plan.replicas[0].weights.tag == "qwen2.5-coder:7b-instruct-q4_K_M"


def test_ollama_runs_on_a_cpu_too() -> None:
    plan = made(
        hosts=[{"name": "cpu1"}],
        engine={"kind": "ollama"},
        models=[{"name": "qwen2.5-coder-7b", "max_model_len": 8192}],
    )
    assert plan.replicas[0].gpus == ()
    assert plan.models[0].tokens_per_second_per_user is None
    assert plan.replicas[0].memory_limit_bytes == 8 * 1024**3


def test_the_version_of_the_image_is_sized() -> None:
    old = {"vllm": {"reference": "reg.lab/vllm/vllm-openai:v0.19.0"}}
    arguments: dict[str, Any] = {
        "hosts": [{"name": "gpu1", "gpus": "2x h100"}],
        "engine": {"kind": "vllm"},
        "models": [{"name": "qwen2.5-coder-32b"}],
    }
    new = made(**arguments).replicas[0].kv_cache_tokens
    assert made(**arguments, images=old).replicas[0].kv_cache_tokens != new


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        '{"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,'
        ' "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,'
        ' "vocab_size": 151936, "max_position_embeddings": 32768}',
        encoding="utf-8",
    )
    plan = made(
        hosts=[{"name": "gpu1", "gpus": "1x rtx-3060"}],
        engine={"kind": "vllm"},
        models=[{"name": "own", "config": str(config), "weights": "/srv/models/own"}],
    )
    assert plan.replicas[0].weights.directory == "/srv/models/own"
    assert plan.models[0].roles == ("chat",)
