"""Licences against the declared use."""

from pathlib import Path
from typing import Any

import pytest

from deploy.catalog import Use, load_catalog
from deploy.errors import Problem
from deploy.licence import (
    alternatives,
    licence_problems,
    licence_warnings,
    model_licence_problems,
)
from deploy.spec import DeploymentSpec, HostSpec, ModelSpec

CATALOG = load_catalog()
REFUSED = {
    ("qwen-research", Use.INTERNAL_COMMERCIAL),
    ("qwen-research", Use.THIRD_PARTY_SERVICE),
    ("mistral-mnpl", Use.INTERNAL_COMMERCIAL),
    ("mistral-mnpl", Use.THIRD_PARTY_SERVICE),
    ("minimax-m2.7-nc", Use.INTERNAL_COMMERCIAL),
    ("minimax-m2.7-nc", Use.THIRD_PARTY_SERVICE),
}
MODEL_LICENCES = sorted({model.licence for model in CATALOG.models.values()})


def one_model_under(licence: str) -> str:
    return next(name for name, model in CATALOG.models.items() if model.licence == licence)


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("licence", MODEL_LICENCES)
def test_every_licence_for_every_use(licence: str, use: Use) -> None:
    problems = model_licence_problems([one_model_under(licence)], use, 20, CATALOG)
    assert bool(problems) == ((licence, use) in REFUSED)
    for problem in problems:
        assert str(CATALOG.licences[licence].permission(use).clause) in problem.found


def test_a_refusal_names_the_clause_what_is_allowed_and_a_way_out() -> None:
    [problem] = model_licence_problems(
        ["qwen2.5-coder-7b", "qwen2.5-coder-3b"], Use.INTERNAL_COMMERCIAL, 20, CATALOG
    )
    assert problem == Problem(
        path="models[1].name",
        found="'qwen2.5-coder-3b' may not be used for internal-commercial by 20 users: Qwen"
        " Research License Agreement, section 2 (Grant of Rights): non-commercial purposes only",
        allowed="research (for research or evaluation, without commercial purpose)",
        fix="serve 'qwen2.5-coder-1.5b' (Apache License 2.0), or agree with its makers"
        " (Commercial use needs a licence from Alibaba Cloud)",
    )


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("name", CATALOG.models)
def test_alternatives_may_be_used(name: str, use: Use) -> None:
    found = alternatives(name, use, 20, CATALOG)
    assert not model_licence_problems(found, use, 20, CATALOG)
    assert all(
        set(CATALOG.models[name].roles) <= set(CATALOG.models[other].roles) for other in found
    )


def test_above_700_million_users_llama_needs_a_licence() -> None:
    def refused(users: int) -> list[Problem]:
        return model_licence_problems(["codellama-7b"], Use.RESEARCH, users, CATALOG)

    assert not refused(700_000_000)
    assert (
        "section 2 (Additional Commercial Terms): above 700,000,000 users"
        in refused(700_000_001)[0].found
    )


def test_branding_of_the_web_ui_is_a_warning_from_51_users() -> None:
    assert licence_warnings(["open-webui"], 50, CATALOG) == []
    assert licence_warnings(["open-webui"], 51, CATALOG) == [
        "open-webui: Open WebUI License, clause 4 (branding): above 50 users per 30 days, the"
        " Open WebUI name and logo must stay as they are"
    ]


def test_conditions_are_warnings() -> None:
    [warning] = licence_warnings(["starcoder2-7b"], 5, CATALOG)
    assert warning.endswith("(Use-based restrictions): none of the uses listed there")


def spec(*models: ModelSpec, **declared: Any) -> DeploymentSpec:
    return DeploymentSpec(name="lab", hosts=(HostSpec(name="@local"),), models=models, **declared)


def test_a_deployment_is_judged_by_its_models() -> None:
    models = (ModelSpec(name="codestral-22b"), ModelSpec(name="devstral-small"))
    service = spec(*models, use="third_party_service")
    assert [p.path for p in licence_problems(service, CATALOG)] == ["models[0].name"]
    assert licence_problems(spec(*models, use="research"), CATALOG) == []


def test_files_of_the_operators_own_are_not_judged() -> None:
    declared = spec(ModelSpec(name="codestral-22b", path=Path("mine.gguf")))
    assert licence_problems(declared, CATALOG) == []


def test_where_nothing_is_declared_the_use_is_internal_commercial() -> None:
    [problem] = licence_problems(spec(ModelSpec(name="codestral-22b")), CATALOG)
    assert "may not be used for internal-commercial" in problem.found
