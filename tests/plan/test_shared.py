"""Models that share an Ollama: what they take together, what the plan says, what is refused."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import Deployment
from deploy.catalog import load_catalog
from deploy.cli.plan_text import plan_text
from deploy.errors import PlanError, SpecError
from deploy.model_files import read_model_files
from deploy.plan.deployment_plan import DeploymentPlan, ModelPlan
from deploy.plan.make_plan import make_plan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.to_json import plan_to_json
from deploy.units import GIB
from tests.examples import examples
from tests.golden import assert_golden
from tests.plan.goldens import GOLDEN
from tests.services.test_launchd import MAC, WEB
from tests.services.test_launchd import OLLAMA as ON_A_MAC

SHARED: dict[str, Any] = {"kind": "ollama", "shared": "desk"}
ALONE: dict[str, Any] = {"kind": "ollama"}
BIG: dict[str, Any] = {"name": "gpt-oss-20b", "quantization": "mxfp4"}
MIDDLE: dict[str, Any] = {"name": "qwen2.5-coder-14b", "roles": ["chat"]}
SMALL: dict[str, Any] = {"name": "qwen2.5-coder-1.5b-base"}
GPU: dict[str, Any] = {"name": "gpu1", "gpus": "rtx-4090"}
L40S: dict[str, Any] = {"name": "gpu1", "gpus": "l40s"}
CPU: dict[str, Any] = {"name": "box"}


def plan_of(*models: dict[str, Any], **settings: Any) -> DeploymentPlan:
    declared: dict[str, Any] = {
        "name": "lab",
        "hosts": [GPU],
        "engine": SHARED,
        "models": list(models),
        "web_ui": None,
    }
    spec, catalog = Deployment(**declared | settings), load_catalog()
    return make_plan(spec, catalog, read_model_files(spec, catalog, Path()), Path())


def replica(plan: DeploymentPlan, model: dict[str, Any]) -> ReplicaPlan:
    [found] = [each for each in plan.replicas if each.model == model["name"]]
    return found


def gib(found: ReplicaPlan) -> float:
    assert found.memory is not None
    return found.memory.total_gib


def used_gib(plan: DeploymentPlan) -> float:
    found: float = plan_to_json(plan)["hosts"][0]["gpus"][0]["used_gib"]
    return found


def text(plan: DeploymentPlan) -> str:
    return "\n".join(line.plain for line in plan_text(plan))


def row(plan: DeploymentPlan, model: dict[str, Any]) -> ModelPlan:
    return next(each for each in plan.models if each.name == model["name"])


def test_of_models_in_turn_the_largest_decides() -> None:
    """They would not fit side by side."""
    plan = plan_of(MIDDLE, SMALL, BIG)
    assert used_gib(plan) == pytest.approx(gib(replica(plan, BIG)), abs=0.01)
    assert {(each.gpus, each.gpu_memory_utilization) for each in plan.replicas} == {((0,), 0.9)}
    with pytest.raises(PlanError, match="each fits alone, but not all together"):
        plan_of(MIDDLE, BIG, engine=ALONE)


def test_of_two_that_are_loaded_the_two_largest_decide() -> None:
    plan = plan_of(SMALL, MIDDLE, BIG, hosts=[L40S], engine=SHARED | {"max_loaded_models": 2})
    both = gib(replica(plan, BIG)) + gib(replica(plan, MIDDLE))
    assert used_gib(plan) == pytest.approx(both, abs=0.01)
    rows = plan_to_json(plan)["hosts"][0]["gpus"][0]["replicas"]
    assert [each["served_model_name"] for each in rows] == [
        each["name"] for each in (SMALL, MIDDLE, BIG)
    ]


def test_what_does_not_fit_side_by_side_is_refused_with_how_many_do() -> None:
    with pytest.raises(PlanError) as refused:
        plan_of(MIDDLE, SMALL, BIG, engine=SHARED | {"max_loaded_models": 2})
    assert str(refused.value).startswith("engine.max_loaded_models: 2 on 1x rtx-4090: gpt-oss-20b")
    assert "lower max_loaded_models to 1" in str(refused.value)


def test_the_model_that_is_too_large_is_named() -> None:
    with pytest.raises(PlanError, match=r"models\[1\].name: qwen2.5-coder-14b does not fit on 1x"):
        plan_of(SMALL, MIDDLE, hosts=[{"name": "gpu1", "gpus": "rtx-3060"}])


def test_it_lies_next_to_other_engines() -> None:
    """What the others leave is for the models that are loaded."""
    vllm = {"name": "qwen3-8b", "engine": {"kind": "vllm"}}
    plan = plan_of(MIDDLE, BIG, vllm, hosts=[L40S])
    shares = {each.engine_name: each.gpu_memory_utilization for each in plan.replicas}
    assert set(shares) == {"desk", "qwen3-8b"}
    assert sum(filter(None, shares.values())) <= 0.9 + 1e-6
    assert gib(replica(plan, BIG)) <= (shares["desk"] or 0) * 44.4
    [shared] = [each for each in plan.warnings if "share GPUs" in each]
    assert "qwen3-8b" in shared
    reasons = "".join(row(plan, vllm).reasons)
    assert "shares GPUs with gpt-oss-20b, qwen2.5-coder-14b" in reasons


def test_models_of_one_ollama_are_not_said_to_slow_each_other() -> None:
    assert not [each for each in plan_of(MIDDLE, SMALL).warnings if "share GPUs" in each]


def test_a_container_has_memory_for_the_models_that_are_loaded() -> None:
    alone = plan_of(MIDDLE, SMALL, BIG, hosts=[CPU], engine=ALONE | {"max_model_len": 4096})
    limits = sorted(each.memory_limit_bytes for each in alone.replicas)
    for count in (1, 2, 3, 4):
        engine = SHARED | {"max_model_len": 4096, "max_loaded_models": count}
        plan = plan_of(MIDDLE, SMALL, BIG, hosts=[CPU], engine=engine)
        [limit] = {each.memory_limit_bytes for each in plan.replicas}
        assert limit == sum(limits[-count:])
    own = plan_of(MIDDLE, SMALL, hosts=[CPU], engine=SHARED | {"memory_limit": "40GiB"})
    assert {each.memory_limit_bytes for each in own.replicas} == {40 * GIB}


def test_on_cpus_all_are_on_one_host() -> None:
    hosts = [{"name": f"box{n}", "address": f"10.0.0.{n}"} for n in (1, 2, 3)]
    tiny = {"name": "tiny-coder", "engine": {"kind": "llama_cpp"}}
    plan = plan_of(MIDDLE, SMALL, tiny, hosts=hosts)
    assert [each.host for each in plan.replicas] == ["box1", "box1", "box2"]


def test_they_have_one_context_length() -> None:
    plan = plan_of(MIDDLE, SMALL)
    # 2048 tokens would do for one that only completes
    assert [each.max_model_len for each in plan.replicas] == [8192, 8192]
    for hosts in ([CPU], [GPU]):
        plan = plan_of(MIDDLE, SMALL | {"max_model_len": 4096}, hosts=hosts)
        assert [each.max_model_len for each in plan.replicas] == [4096, 4096]
        assert [each.context_tokens for each in plan.models] == [4096, 2048]


def test_a_model_that_was_made_for_less_has_less() -> None:
    """Ollama caps it, too: ``effectiveContext`` in server/sched.go."""
    tiny = {"name": "tiny-coder"}
    plan = plan_of(tiny, SMALL, hosts=[CPU], engine=SHARED | {"max_model_len": 16384})
    limit = load_catalog().models["tiny-coder"].max_model_len
    assert [each.max_model_len for each in plan.replicas] == [limit, 16384]
    assert limit < 16384


def test_on_a_mac_they_have_one_port() -> None:
    engine = SHARED | {"trusted_network": True}
    other = {"name": "qwen2.5-coder-7b", "engine": ON_A_MAC | {"shared": None}}
    plan = plan_of(MIDDLE, other, SMALL, hosts=[WEB, MAC], engine=engine)
    assert [each.port for each in plan.replicas] == [8000, 8001, 8000]


def test_the_plan_says_who_waits_and_for_what() -> None:
    plan = plan_of(MIDDLE, SMALL, engine=SHARED | {"keep_alive": "30m"})
    found = row(plan, SMALL)
    assert found.reasons[-1] == (
        "in the Ollama 'desk' with qwen2.5-coder-14b: the first request to a model that is not"
        " loaded waits for its load; it stays loaded until no one has asked it for 30m or another"
        " one needs its place (keep_alive 30m)"
    )
    assert found.at_the_limit.endswith(
        "; while others are loaded, every request waits until one of them has no requests"
    )
    [warning] = [each for each in plan.warnings if each.startswith("desk:")]
    assert "take turns in one Ollama, which has 1 of them loaded at a time" in warning
    assert "do not add up" in warning
    assert "1 of 2 loaded at a time, in the Ollama desk" in text(plan)


@pytest.mark.parametrize(
    ("keep_alive", "stays"),
    [
        ("-1", "it stays loaded (keep_alive -1)"),
        ("5m", "it stays loaded until no one has asked it for 5m (keep_alive 5m)"),
        ("0", "it is unloaded after each answer (keep_alive 0)"),
    ],
)
def test_with_a_place_for_each_none_waits_for_another(keep_alive: str, stays: str) -> None:
    engine = SHARED | {"max_loaded_models": 2, "keep_alive": keep_alive}
    plan = plan_of(MIDDLE, SMALL, hosts=[L40S], engine=engine)
    assert row(plan, SMALL).reasons[-1].endswith(f"waits for its load; {stays}")
    assert "while others" not in row(plan, SMALL).at_the_limit
    assert not [each for each in plan.warnings if each.startswith("desk:")]
    assert "loaded at a time" not in text(plan)


@pytest.mark.parametrize(("slots", "warns"), [(4, False), (6, True)])
def test_models_that_ollama_may_not_keep_side_by_side_are_warned_of(
    slots: int, warns: bool
) -> None:
    """By its rule of 80 % of what is free."""
    engine = SHARED | {"max_loaded_models": 2, "max_num_seqs": slots}
    plan = plan_of(MIDDLE, SMALL, engine=engine)
    large, small = gib(replica(plan, MIDDLE)), gib(replica(plan, SMALL))
    assert (large > 0.8 * (plan.hosts[0].usable_gib[0] - small)) is warns
    found = [each for each in plan.warnings if each.startswith("desk:")]
    assert ["at most 80% of the memory that is free" in each for each in found] == [True] * warns


def test_one_model_may_have_an_ollama_of_its_own() -> None:
    own = SMALL | {"engine": {"kind": "ollama", "shared": None}}
    plan = plan_of(MIDDLE, own, engine=SHARED | {"max_loaded_models": 2})
    assert [each.engine_name for each in plan.replicas] == ["desk", SMALL["name"]]
    assert replica(plan, SMALL).engine.most_loaded == 1


def test_the_json_says_which_ollama() -> None:
    rows = plan_to_json(plan_of(MIDDLE, SMALL))["replicas"]
    assert [(each["shared"], each["max_loaded_models"]) for each in rows] == [("desk", 1)] * 2
    assert "shared" not in plan_to_json(plan_of(MIDDLE, engine=ALONE))["replicas"][0]


@pytest.mark.golden
def test_the_text_of_a_plan() -> None:
    engine = SHARED | {"max_loaded_models": 2, "keep_alive": "30m"}
    vllm = {"name": "qwen3-8b", "engine": {"kind": "vllm"}}
    hosts = [{"name": "gpu1", "gpus": "a100-80gb"}]
    plan = plan_of(BIG, MIDDLE, SMALL, vllm, hosts=hosts, engine=engine)
    assert_golden(GOLDEN / "shared_ollama.txt", text(plan) + "\n")


REFUSED: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    (
        [MIDDLE, SMALL],
        {"engine": {"kind": "vllm", "shared": "desk"}},
        "engine.shared: vllm has no such setting\n    allowed: only with engine kind ollama",
    ),
    ([MIDDLE], {"engine": {"kind": "ollama", "shared": "My Desk"}}, "engine.shared: 'My Desk'"),
    (
        [MIDDLE],
        {"engine": {"kind": "ollama", "max_loaded_models": 2}},
        "engine.max_loaded_models: declared, and each model has an Ollama of its own",
    ),
    ([MIDDLE], {"engine": SHARED | {"max_loaded_models": 0}}, "engine.max_loaded_models"),
    (
        [MIDDLE, SMALL | {"engine": {"kind": "ollama", "keep_alive": "5m"}}],
        {},
        "models[1].engine.keep_alive: '5m', and '-1' for qwen2.5-coder-14b, which shares the"
        " Ollama 'desk'\n    allowed: the same for all models of one Ollama",
    ),
    (
        [MIDDLE, SMALL | {"engine": {"kind": "ollama", "env": {"OLLAMA_DEBUG": "1"}}}],
        {},
        "models[1].engine.env: others than for qwen2.5-coder-14b, which shares the Ollama",
    ),
    (
        [MIDDLE | {"gpus": 1}, SMALL | {"gpus": 0.3}],
        {},
        "models[1].gpus: 0.3, and 1 for qwen2.5-coder-14b",
    ),
    (
        [MIDDLE | {"max_model_len": 4096}, SMALL],
        {"engine": SHARED | {"max_model_len": 8192}},
        "engine.max_model_len: 8192, and 4096 for qwen2.5-coder-14b",
    ),
    (
        [MIDDLE | {"max_num_seqs": 4}, SMALL | {"engine": ALONE | {"max_num_seqs": 8}}],
        {},
        "models[1].engine.max_num_seqs: 8, and 4 for qwen2.5-coder-14b",
    ),
    (
        [MIDDLE | {"max_num_seqs": 4}, SMALL | {"max_num_seqs": 8}],
        {},
        "models[1].max_num_seqs: 8, and 4 for qwen2.5-coder-14b",
    ),
    (
        [MIDDLE, SMALL | {"replicas": 2}],
        {},
        "models[1].replicas: 2 of qwen2.5-coder-1.5b-base, which shares the Ollama 'desk': there"
        " is one of it",
    ),
    (
        [MIDDLE, SMALL | {"weights": "qwen2.5-coder:14b-instruct-q4_K_M"}],
        {},
        "models[1].weights: 'qwen2.5-coder:14b-instruct-q4_K_M', which qwen2.5-coder-14b is in the"
        " Ollama 'desk', too",
    ),
    (
        [MIDDLE, SMALL | {"engine": {"kind": "ollama", "shared": None}}],
        {"engine": SHARED | {"shared": SMALL["name"]}},
        "models[1].name: 'qwen2.5-coder-1.5b-base', and a shared Ollama is called so, too",
    ),
    (
        [MIDDLE],
        {"engine": SHARED | {"env": {"OLLAMA_MAX_LOADED_MODELS": "3"}}},
        "max_loaded_models",
    ),
]


@pytest.mark.parametrize(("models", "settings", "said"), REFUSED, ids=[case[2] for case in REFUSED])
def test_what_cannot_be_shared_is_refused(
    models: list[dict[str, Any]], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises((PlanError, SpecError)) as refused:
        plan_of(*models, **settings)
    assert said in str(refused.value)


def test_settings_of_one_model_are_those_of_all() -> None:
    plan = plan_of(MIDDLE | {"max_num_seqs": 3, "gpus": 0.8}, SMALL)
    assert [each.max_num_seqs for each in plan.replicas] == [3, 3]
    assert [each.gpu_memory_utilization for each in plan.replicas] == [0.8, 0.8]


@pytest.mark.parametrize("hosts", [[GPU], [CPU]])
@pytest.mark.parametrize("own", [{"max_num_seqs": 3}, {"engine": ALONE | {"max_num_seqs": 3}}])
@pytest.mark.parametrize("first", [True, False])
def test_whichever_model_has_them(
    hosts: list[dict[str, Any]], own: dict[str, Any], first: bool
) -> None:
    """Ollama has one number of slots, so the plan has one."""
    models = [MIDDLE | own, SMALL] if first else [MIDDLE, SMALL | own]
    assert [each.max_num_seqs for each in plan_of(*models, hosts=hosts).replicas] == [3, 3]


POOL = [BIG, MIDDLE, SMALL, {"name": "qwen2.5-coder-7b"}, {"name": "qwen2.5-coder-1.5b"}]


@examples(20)
@given(
    models=st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique_by=lambda m: m["name"]),
    count=st.integers(1, 4),
    card=st.sampled_from(["rtx-4090", "l40s", "a100-80gb", "2x rtx-4090"]),
)
def test_no_models_that_are_loaded_at_a_time_take_more_than_there_is(
    models: list[dict[str, Any]], count: int, card: str
) -> None:
    hosts = [{"name": "gpu1", "gpus": card}]
    try:
        plan = plan_of(*models, hosts=hosts, engine=SHARED | {"max_loaded_models": count})
    except PlanError:
        return
    [(gpus, share)] = {(each.gpus, each.gpu_memory_utilization) for each in plan.replicas}
    usable = plan.hosts[0].usable_gib[gpus[0]]
    loaded = [sum(map(gib, some)) for some in combinations(plan.replicas, min(count, len(models)))]
    assert max(loaded) <= usable * (share or 0) + 1e-6
    assert used_gib(plan) == pytest.approx(max(loaded), abs=0.01)
    # with fewer of them loaded it fits as well, and needs no more
    fewer = plan_of(*models, hosts=hosts, engine=SHARED | {"max_loaded_models": max(count - 1, 1)})
    assert fewer.replicas[0].memory_limit_bytes <= plan.replicas[0].memory_limit_bytes


@examples(20)
@given(
    models=st.lists(st.sampled_from(POOL), min_size=2, max_size=4, unique_by=lambda m: m["name"]),
    count=st.integers(1, 2),
)
def test_a_smaller_model_more_changes_no_limit(models: list[dict[str, Any]], count: int) -> None:
    """So that the container stays."""
    engine = SHARED | {"max_loaded_models": count, "max_model_len": 4096}
    plan = plan_of(*models, hosts=[CPU], engine=engine)
    alone = plan_of(*models, hosts=[CPU], engine=ALONE | {"max_model_len": 4096})
    smallest = min(alone.replicas, key=lambda each: each.memory_limit_bytes)
    rest = [model for model in models if model["name"] != smallest.model]
    if len(rest) >= count:
        before = plan_of(*rest, hosts=[CPU], engine=engine)
        assert before.replicas[0].memory_limit_bytes == plan.replicas[0].memory_limit_bytes
