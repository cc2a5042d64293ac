"""What is recommended, and why."""

import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import Use, load_catalog
from deploy.cost import Rates
from deploy.recommend import Recommendation, RecommendRequest, recommend
from deploy.recommend import recommendation_to_json as to_json
from deploy.recommend.candidates import find_candidates
from deploy.recommend.choose import worth
from deploy.recommend.strength import strength
from tests.examples import examples

CATALOG = load_catalog()


@cache
def ask(users: int, **settings_: object) -> Recommendation:
    return recommend(RecommendRequest(users, **settings_), CATALOG)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("users", "work", "label", "model"),
    [
        (3, "agents", "2x rtx-3090", "qwen3.6-35b-a3b"),
        (20, "agents", "2x rtx-5090", "qwen3.6-35b-a3b"),
        (100, "agents", "4x rtx-pro-5000", "qwen3.6-35b-a3b"),
        (300, "agents", "8x b200", "qwen3.6-35b-a3b"),
        (3, "chat", "1x rtx-3090", "qwen3.6-27b"),
        (20, "chat", "4x rtx-pro-4000", "qwen3.6-27b"),
        (100, "chat", "2x rtx-5090", "qwen3.6-35b-a3b"),
        (20, "completion", "2x rtx-5070-ti", "seed-coder-8b-base"),
    ],
)
def test_the_documented_answers(users: int, work: str, label: str, model: str) -> None:
    best = ask(users, work=work).best
    assert best is not None
    assert (best.hardware.label, best.candidate.model) == (label, model)


@pytest.mark.parametrize("users", [1, 7, 40])
@pytest.mark.parametrize("gpus", [("rtx-3090",) * 7, ("l40s",) * 3, ("h100",) * 8])
def test_splits_are_those_that_operators_run(users: int, gpus: tuple[str, ...]) -> None:
    for option in ask(users, gpus=gpus).options:
        split = option.sizing.tensor_parallel_size
        assert split in {1, 2, 4, 8}
        stages = option.sizing.pipeline_parallel_size
        assert option.candidate.engine == "ollama" or stages == 1 or len(gpus) % split >= 0


@pytest.mark.parametrize("users", [3, 20, 100])
def test_a_completion_model_beside_it_takes_room(users: int) -> None:
    gpus = ("rtx-5090",) * 2 if users < 100 else ("rtx-pro-6000",) * 4
    alone, both = (
        ask(users, gpus=gpus, work="chat", with_completion=more).best for more in (False, True)
    )
    assert alone is not None
    assert both is not None
    assert both.sizing.usable_gib_per_gpu < alone.sizing.usable_gib_per_gpu - 1
    assert any(
        "completes code" in reason
        for reason in ask(users, gpus=gpus, work="chat", with_completion=True).reasons
    )


def test_what_is_sold_together_is_bought_together() -> None:
    for users in (3, 100, 400):
        answer = ask(users)
        names = [option.hardware for option in answer.options if not option.hardware.offer]
        for hardware in names:
            sold = CATALOG.gpus[hardware.gpus[0]].sold_in
            assert not sold or len(hardware.gpus) in sold


@pytest.mark.parametrize("users", [1, 3, 4, 20, 51, 100, 400])
@pytest.mark.parametrize("work", ["agents", "chat", "completion"])
def test_everything_offered_serves_everybody_under_an_allowed_licence(
    users: int, work: str
) -> None:
    answer = ask(users, work=work)
    assert answer.options
    for option in answer.options:
        licence = CATALOG.licences[CATALOG.models[option.candidate.model].licence]
        assert licence.permission(Use.INTERNAL_COMMERCIAL).allowed
        assert option.users_served >= users
        assert option.tokens_per_second_per_user >= answer.request.needs.pace
        assert answer.request.role in CATALOG.models[option.candidate.model].roles
        assert option.candidate.engine == "vllm" or users <= 3


def test_models_that_may_not_be_used_are_named_with_their_clause() -> None:
    left_out = {m.model: m.reason for m in ask(20).excluded_models}
    assert "section 3.2" in left_out["codestral-22b"]
    assert "section 2" in left_out["qwen2.5-coder-3b"]
    research = {m.model for m in ask(20, use=Use.RESEARCH).excluded_models}
    assert not {"codestral-22b", "qwen2.5-coder-3b"} & research


def test_given_gpus_are_all_that_is_offered() -> None:
    answer = ask(100, gpus=("h100",) * 4)
    assert {option.hardware.gpus for option in answer.options} == {("h100",) * 4}
    models = [option.candidate.model for option in answer.options]
    assert len(set(models)) == len(models)


@pytest.mark.parametrize("more", ["rtx-3060", "rtx-3090", "rx-7900-xtx", "h100", "cpu"])
@pytest.mark.parametrize("users", [2, 20])
def test_another_gpu_never_gives_a_worse_answer(users: int, more: str) -> None:
    one, two = ask(users, gpus=("l40s",)).best, ask(users, gpus=("l40s", more)).best
    assert one is not None
    assert two is not None
    asked = RecommendRequest(users, gpus=("l40s", more))
    assert worth(two, asked)[0] >= worth(one, asked)[0]


def test_gpus_of_two_vendors_do_not_serve_one_engine() -> None:
    for option in ask(2, gpus=("rx-7900-xtx", "rtx-3090")).options:
        assert len(set(option.hardware.gpus)) == 1


def test_too_long_a_context_is_named() -> None:
    answer = ask(20, context_tokens=1_000_000)
    assert answer.best is None
    assert {"over_budget", "too_small"} >= {lost.kind for lost in answer.not_chosen}


def test_the_slides_architecture_for_100_is_checked() -> None:
    found = ask(100, gpus=("h100",) * 4, work="chat")
    findings = {f.subject: f for f in found.findings}
    assert findings["our choice"].verdict == "agrees"
    assert findings["70 users per H100"].verdict == "disagrees"
    short = {f.subject: f for f in ask(100, context_tokens=1024, work="chat").findings}
    assert short["70 users per H100"].verdict == "agrees"


def test_a_processor_is_never_recommended() -> None:
    for users in (1, 2):
        answer = ask(users, gpus=("cpu",))
        assert answer.best is None
        assert "one user at most" in answer.not_chosen[0].reason


def test_gpus_without_a_price_have_no_costs() -> None:
    best = ask(5, gpus=("rtx-4080",), work="chat").best
    assert best is not None
    assert (best.eur_per_month, best.eur_per_user_per_month) == (None, None)
    refused = ask(5, gpus=("rtx-4080",), budget_eur=5000.0)
    assert refused.best is None
    assert refused.not_chosen[0].reason == "no price is known: --budget cannot be kept"


@pytest.mark.parametrize(("users", "work"), [(1, "agents"), (3, "agents"), (20, "chat")])
def test_what_is_rented_is_compared_with_a_model_as_strong(users: int, work: str) -> None:
    answer = ask(users, work=work)
    assert answer.best is not None
    rented = [option for option in answer.options if option.hardware.kind == "hosted"]
    assert len(rented) == 1
    assert rented[0].strength >= answer.best.strength * 0.95


@pytest.mark.parametrize("gpus", [("rx-7900-xtx",) * 2, ("r9700",) * 4, ("strix-halo-128",)])
def test_weights_that_amd_computes_in_software_are_not_offered(gpus: tuple[str, ...]) -> None:
    """vLLM's ROCm platform: FP8 from gfx942 and gfx12 on; NVFP4 only emulated."""
    computes_fp8 = gpus[0] == "r9700"
    methods = {o.candidate.quantization for o in ask(2, gpus=gpus).options}
    assert methods
    assert "nvfp4" not in methods
    assert "fp8" not in methods or computes_fp8


def test_many_people_are_served_by_several_servers() -> None:
    one, many = ask(1000).best, ask(10_000).best
    assert one is not None
    assert many is not None
    assert many.hardware.machines > 1
    assert many.hardware.label.startswith(f"{many.hardware.machines} machines: 8x ")
    assert many.users_served >= 10_000
    assert many.tokens_per_second_per_user >= 20
    each = ask(1000, gpus=many.hardware.gpus).best
    assert each is not None
    assert each.hardware.price_eur is not None
    assert many.hardware.price_eur == each.hardware.price_eur * many.hardware.machines
    few = {lost.what for lost in ask(60).not_chosen}
    assert not any("machines: 8x" in what for what in few)


def test_a_faster_one_is_shown_where_none_is_stronger() -> None:
    answer = ask(100)
    best = answer.best
    assert best is not None
    faster = [
        o
        for o in answer.options
        if o.tokens_per_second_per_user > best.tokens_per_second_per_user * 1.4
    ]
    assert faster
    assert all(option.strength >= best.strength * 0.95 for option in faster)


def test_more_servers_than_needed_are_not_bought() -> None:
    answer = ask(300)
    shown = {option.hardware.label for option in answer.options}
    assert "8x rtx-pro-6000" in shown
    assert not any(label.endswith("machines: 8x rtx-pro-6000") for label in shown)
    reasons = {lost.what: lost.reason for lost in answer.not_chosen}
    assert reasons["2 machines: 8x rtx-pro-6000"].startswith("8x rtx-pro-6000 are enough")


def test_what_nothing_published_was_compared_with_is_not_preferred() -> None:
    answer = ask(20, work="chat")
    assert answer.best is not None
    assert answer.best.is_measured
    assert any("rx-7900-xtx" in lost.what for lost in answer.not_chosen)
    only = ask(20, work="chat", gpus=("rx-7900-xtx",) * 2).best
    assert only is not None
    assert not only.is_measured


def test_what_came_nearest_is_named_first() -> None:
    answer = ask(5, gpus=("rx-7900-xtx",))
    assert answer.best is None
    assert "for 4 of 5 users" in answer.not_chosen[0].reason
    small = ask(1, gpus=("rtx-3060",))
    assert small.best is None
    for first in (answer.not_chosen[:4], small.not_chosen[:4]):
        assert not any("GiB of weights" in lost.reason for lost in first)


def test_gpt_oss_is_served_by_ollama_too() -> None:
    found = ask(1, gpus=("mac-studio-64",)).options
    kinds = {(o.candidate.model, o.candidate.quantization, o.candidate.engine) for o in found}
    assert ("gpt-oss-20b", "mxfp4", "ollama") in kinds


def test_vllm_is_not_offered_on_a_mac() -> None:
    best = ask(2, gpus=("mac-studio-256",)).best
    assert best is not None
    assert best.candidate.engine == "ollama"


@examples(5)
@given(
    users=st.sampled_from([2, 20, 100]),
    budgets=st.tuples(st.floats(300, 300_000), st.floats(300, 300_000)),
    monthly=st.booleans(),
)
def test_a_bigger_budget_never_gives_a_worse_answer(
    users: int, budgets: tuple[float, float], monthly: bool
) -> None:
    name = "budget_eur_per_month" if monthly else "budget_eur"
    poor, rich = (
        ask(users, **{name: budget / (36 if monthly else 1)}) for budget in sorted(budgets)
    )
    if poor.best is None:
        return
    assert rich.best is not None
    assert worth(rich.best, rich.request) >= worth(poor.best, rich.request)


@pytest.mark.parametrize("budget", [400.0, 2500.0, 7000.0, 40_000.0])
def test_a_budget_is_kept(budget: float) -> None:
    answer = ask(10, budget_eur=budget)
    for option in answer.options:
        cost = option.hardware.cost
        assert cost is not None
        paid = cost.price_eur if cost.kind == "bought" else cost.eur_per_month * 36
        assert paid <= budget
    monthly = ask(10, budget_eur_per_month=budget / 36)
    assert all((option.eur_per_month or 0) <= budget / 36 for option in monthly.options)


def test_more_users_never_get_a_stronger_model_from_the_same_gpus() -> None:
    strengths = []
    for users in (4, 10, 20, 40, 80, 160):
        best = ask(users, gpus=("l40s", "l40s"), work="chat").best
        request = RecommendRequest(users, gpus=("l40s",) * 2, work="chat")
        strengths.append(worth(best, request)[0] if best else -99)
    assert strengths == sorted(strengths, reverse=True)


def test_costs_cross_where_the_service_costs_as_much() -> None:
    asked = {"gpus": ("l40s",), "work": "chat", "rates": Rates(years=3)}
    answer = ask(20, saas_eur_per_million_tokens=2.0, **asked)
    even, best = answer.break_even, answer.best
    assert even is not None
    assert best is not None
    assert best.eur_per_month is not None
    assert even.million_tokens_per_month == pytest.approx(best.eur_per_month / 2)
    assert even.million_tokens_per_user_per_month == pytest.approx(best.eur_per_month / 40)
    assert even.months_until_bought_is_cheaper == pytest.approx(6.08, abs=0.01)


def test_strength_is_the_published_score_and_its_bits() -> None:
    models = CATALOG.models
    assert strength(models["qwen3.6-27b"], "none") == 77.2
    assert strength(models["qwen3.6-27b"], "q4_k_m") == pytest.approx(77.2 * 0.96)
    assert strength(models["gpt-oss-20b"], "mxfp4") == 60.7


def test_without_a_score_a_model_ranks_below_those_with_one_by_its_size() -> None:
    models = CATALOG.models
    small, large = (strength(models[f"codellama-{size}b"], "none") for size in (7, 70))
    assert 0 < small < large
    assert strength(models["glm-5.2"], "none") <= 35
    coder = models["qwen3-coder-30b-a3b"]
    assert strength(coder, "none") > 50
    assert strength(coder, "none", "completion") <= 35


def test_candidates_come_strongest_first() -> None:
    candidates, _ = find_candidates(RecommendRequest(20), CATALOG)
    strengths = [candidate.strength for candidate in candidates]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("users", [1, 20, 100, 1000, 100_000])
def test_it_is_fast(users: int) -> None:
    start = time.process_time()
    to_json(ask(users))
    assert time.process_time() - start < 2  # within 1 s on an idle machine
