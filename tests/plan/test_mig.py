"""Engines on the instances of GPUs that are divided (MIG)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from deploy.spec import HostSpec
from tests.conftest import MakeArtefacts

DIVIDED = {"name": "gpu1", "gpus": "2x h100", "mig": {0: ["1g.20gb", "3g.40gb", "1g.20gb"]}}
CODER = {"name": "qwen2.5-coder-7b"}
VLLM = {"kind": "vllm"}


def gpus_of(artefacts: Any) -> list[tuple[str, ...]]:
    return [replica.gpu_ids for replica in artefacts.plan.replicas]


def test_every_instance_is_a_gpu_of_its_own(make: MakeArtefacts) -> None:
    plan = make(hosts=[DIVIDED], models=[CODER], engine=VLLM).plan
    [host] = plan.hosts
    # numbered by size, as drivers do, whatever the order of the declaration
    assert dict(zip(host.gpu_ids, host.gpu_names, strict=True)) == {
        "0:0": "h100 3g.40gb",
        "0:1": "h100 1g.20gb",
        "0:2": "h100 1g.20gb",
        "1": "h100",
    }
    assert [round(size) for size in host.usable_gib] == [38, 19, 19, 79]
    assert host.gpus == ("h100", "h100")
    assert {replica.tensor_parallel_size for replica in plan.replicas} == {1}
    assert ("0:0",) in gpus_of(make(hosts=[DIVIDED], models=[CODER], engine=VLLM))
    for replica in plan.replicas:
        assert replica.memory is not None
        assert replica.memory.total_gib <= host.usable_gib[replica.gpus[0]]


def test_an_instance_is_slower_than_its_card(make: MakeArtefacts) -> None:
    speeds = {}
    for layout in (["7g.80gb"], ["3g.40gb"], None):
        host: dict[str, Any] = {"name": "gpu1", "gpus": "1x h100"}
        host |= {"mig": {0: layout}} if layout else {}
        plan = make(hosts=[host], models=[CODER], engine=VLLM, users=1).plan
        speeds[layout[0] if layout else ""] = plan.models[0].tokens_per_second_per_user or 0
    assert speeds["3g.40gb"] < speeds["7g.80gb"] * 0.65
    assert speeds["7g.80gb"] == speeds[""]


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("nvidia", ["--gpus", '"device=0:0"']),
        ("cdi", ["--device", "nvidia.com/gpu=0:0"]),
    ],
)
def test_the_container_gets_the_instance(
    make: MakeArtefacts, runtime: str, expected: list[str]
) -> None:
    host = {"name": "gpu1", "gpus": "1x h100", "gpu_runtime": runtime, "mig": {0: ["3g.40gb"]}}
    artefacts = make(hosts=[host], models=[CODER], engine=VLLM)
    engine = next(unit for unit in artefacts.stack.units if unit.model_file or unit.gpu_shares)
    arguments = list(engine.create_arguments("demo", lambda *_: ""))
    place = arguments.index(expected[0])
    assert arguments[place : place + 2] == expected


def test_two_models_share_nothing_on_two_instances(make: MakeArtefacts) -> None:
    host = {"name": "gpu1", "gpus": "1x h100", "mig": {0: ["3g.40gb", "3g.40gb"]}}
    models = [CODER, {"name": "qwen2.5-coder-1.5b"}]
    plan = make(hosts=[host], models=models, engine=VLLM).plan
    assert {replica.served_model_name for replica in plan.replicas} == {
        "qwen2.5-coder-7b",
        "qwen2.5-coder-1.5b",
    }
    assert all(len(replica.gpus) == 1 for replica in plan.replicas)


def test_a_replica_of_two_gpus_keeps_off_the_instances(make: MakeArtefacts) -> None:
    host = {"name": "gpu1", "gpus": "3x h100", "mig": {1: ["7g.80gb"]}}
    engine = {**VLLM, "tensor_parallel_size": 2}
    [gpus] = gpus_of(make(hosts=[host], models=[CODER], engine=engine))
    assert gpus == ("0", "2")


@pytest.mark.parametrize(("card", "layout", "estimated"), [("h200", "3g.71gb", True),
                                                        ("h100", "3g.40gb", False)])  # fmt: skip
def test_memory_that_nobody_has_published(
    make: MakeArtefacts, card: str, layout: str, estimated: bool
) -> None:
    host = {"name": "gpu1", "gpus": f"1x {card}", "mig": {0: [layout]}}
    plan = make(hosts=[host], models=[CODER], engine=VLLM).plan
    said = f"gpu1: the memory of instances of {card} is an estimate"
    assert any(warning.startswith(said) for warning in plan.warnings) is estimated


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mig": {0: ["3g.40gb"]}}, "mig without gpus"),
        ({"gpus": "h100", "mig": {0: []}}, "mig={0: ()}"),
        ({"gpus": "h100", "mig": {0: ["3g.40gb"]}, "engines": "native"}, "without containers"),
        ({"gpus": "h100", "mig": {0: ["half"]}}, "'half'"),
        ({"power_limit_watts": 300}, "power_limit_watts without gpus"),
        ({"gpus": "h100", "gpu_clocks_mhz": (1980, 210)}, "gpu_clocks_mhz=(1980, 210)"),
    ],
)
def test_what_is_not_a_layout(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HostSpec(name="gpu1", **settings)
    assert said in str(refused.value)


def test_keys_may_be_text_as_in_yaml_and_json() -> None:
    host = HostSpec.model_validate({"name": "h", "gpus": "h100", "mig": {"0": ["3g.40gb"]}})
    assert host.mig == {0: ("3g.40gb",)}
