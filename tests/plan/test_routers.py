"""Two routers in one plan: who answers for which models, what is said of that, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import Deployment
from deploy.artefacts import Artefacts
from deploy.cli.plan_text import plan_text
from deploy.endpoints import completions_url, router_url
from deploy.errors import PlanError
from deploy.plan.to_json import plan_to_json
from tests.conftest import MakeArtefacts

ARISTOTE, LITELLM = {"kind": "aristote"}, {"kind": "litellm", "port": 4001}
CHAT = {"name": "qwen2.5-coder-7b", "roles": ["chat"]}
TYPE = {"name": "qwen2.5-coder-1.5b", "roles": ["completion"]}
BOTH = {"name": "qwen2.5-coder-3b", "roles": ["chat", "completion"]}
SEARCH = {"name": "qwen3-embedding-0.6b"}
NAMES = [each["name"] for each in (CHAT, TYPE, BOTH, SEARCH)]


@pytest.fixture
def lab(make: MakeArtefacts) -> Any:
    def made(*routers: dict[str, Any], **more: Any) -> Artefacts:
        settings: dict[str, Any] = {
            "hosts": [{"name": "10.0.0.1", "gpus": "4x l40s"}],
            "engine": {"kind": "vllm"},
            "models": [CHAT, TYPE, BOTH, SEARCH],
            "routers": routers,
            "postgres": {},
            "use": "research",
        }
        return make(**settings | more)

    return made


def answers(artefacts: Artefacts) -> list[tuple[str, list[str]]]:
    return [(each.spec.kind, list(each.models)) for each in artefacts.plan.routers]


def test_completing_goes_past_aristote(lab: Any) -> None:
    chat, types, both, search = NAMES
    assert answers(lab(ARISTOTE, LITELLM)) == [
        ("aristote", [chat, both, search]),
        ("litellm", [types, both]),
    ]


def test_a_litellm_that_is_the_main_router_answers_for_all(lab: Any) -> None:
    chat, _, both, search = NAMES
    assert answers(lab(LITELLM, ARISTOTE)) == [
        ("litellm", NAMES),
        ("aristote", [chat, both, search]),
    ]


def test_an_operator_says_otherwise(lab: Any) -> None:
    chat, types, both, search = NAMES
    every = LITELLM | {"models": [search, both, types]}
    assert answers(lab(ARISTOTE, every))[1] == ("litellm", [types, both, search])
    less = ARISTOTE | {"models": [chat], "port": 4002}
    assert answers(lab(LITELLM, less))[1] == ("aristote", [chat])


def test_a_web_ui_has_something_to_chat_with(lab: Any) -> None:
    """It would ask Aristote for a model that only LiteLLM answers for, and no chat would begin."""
    models = {"models": [TYPE, SEARCH]}
    with pytest.raises(PlanError, match=r"Aristote, the main router, .* no model for chat"):
        lab(ARISTOTE, LITELLM, **models)
    assert lab(ARISTOTE, LITELLM, web_ui=None, **models).plan.web_ui is None
    assert lab(LITELLM, ARISTOTE | {"port": 4002}, **models).plan.web_ui


@pytest.mark.parametrize("kind", ["aristote", "litellm"])
def test_one_router_answers_for_all(lab: Any, kind: str) -> None:
    assert answers(lab({"kind": kind})) == [(kind, NAMES)]


def test_the_json_of_one_router_has_no_more_keys(lab: Any) -> None:
    one, two = plan_to_json(lab(ARISTOTE).plan), plan_to_json(lab(ARISTOTE, LITELLM).plan)
    assert "routers" not in one
    assert one["router"] == {"kind": "aristote", "host": "10.0.0.1", "port": 4000, "replicas": 1}
    assert one["router"] == two["router"]
    assert [each["port"] for each in two["routers"]] == [4000, 4001]
    assert two["routers"][1]["models"] == [TYPE["name"], BOTH["name"]]


def test_both_are_shown_on_their_host(lab: Any) -> None:
    text = "\n".join(str(line) for line in plan_text(lab(ARISTOTE, LITELLM).plan))
    assert "(Aristote, LiteLLM, web UI, PostgreSQL, RabbitMQ)" in text


def said(artefacts: Artefacts, *words: str) -> list[str]:
    return [each for each in artefacts.plan.warnings if all(word in each for word in words)]


def test_what_is_said_of_two(lab: Any) -> None:
    found = lab(ARISTOTE, LITELLM)
    assert len(said(found, "sends /v1/completions to LiteLLM", f"({TYPE['name']},")) == 1
    assert len(said(found, f"{TYPE['name']}: not in what /v1/models lists")) == 1
    # LiteLLM completes, and it has limits
    assert not said(found, "35 to 100 ms")
    assert not said(found, "limits is not used")
    assert not said(found, "at LiteLLM alone")
    other = lab(LITELLM, ARISTOTE | {"port": 4002})
    assert len(said(other, "LiteLLM is the main router", "port, 4002, alone")) == 1
    assert not said(other, "not in what /v1/models lists")


@pytest.mark.parametrize(
    "limited",
    [
        {"limits": {"rpm_limit": 60}},
        {"teams": [{"name": "physics", "models": [TYPE["name"]]}]},
        {"people": [{"name": "ada", "expires": "2099-01-31"}]},
    ],
)
def test_limits_hold_at_litellm_alone(lab: Any, limited: dict[str, Any]) -> None:
    [found] = said(lab(ARISTOTE, LITELLM, **limited), "hold at LiteLLM alone")
    assert str(CHAT["name"]) in found
    assert str(TYPE["name"]) not in found


def test_without_an_entry_code_is_completed_at_another_address(lab: Any) -> None:
    found = lab(ARISTOTE, LITELLM)
    assert router_url(found).endswith(":4000")
    assert completions_url(found).endswith(":4001")
    behind = lab(ARISTOTE, LITELLM, entry={})
    assert router_url(behind) == completions_url(behind) == "https://10.0.0.1"


def test_a_profile_speaks_of_both() -> None:
    made = Deployment(
        name="demo",
        profile="20-users",
        hosts=[{"name": "10.0.0.1", "gpus": "2x l40s"}],
        models=[CHAT, TYPE],
        routers=[ARISTOTE, LITELLM | {"replicas": 1}],
    )
    assert [each.replicas for each in made.all_routers] == [2, 1]
    assert [each.kind for each in made.all_routers] == ["aristote", "litellm"]
    assert made.router_of("litellm") is made.all_routers[1]


def test_no_routers_are_the_one_of_the_profile() -> None:
    made = Deployment(
        name="demo",
        profile="20-users",
        hosts=[{"name": "10.0.0.1", "gpus": "2x l40s"}],
        models=[CHAT],
        routers=[],
    )
    assert [each.replicas for each in made.all_routers] == [2]
