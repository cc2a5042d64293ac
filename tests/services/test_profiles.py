"""What the profiles render to."""

import pytest
import yaml

from deploy.services import Tier, Unit
from deploy.services.engines import MODULES, SERVICES
from tests.golden import assert_golden
from tests.services.profiles import GOLDEN, PROFILES, artefacts_of, text_of


@pytest.mark.golden
@pytest.mark.parametrize("name", PROFILES)
def test_containers_and_files_are_as_written(name: str) -> None:
    assert_golden(GOLDEN / f"{name}.json", text_of(name))


def test_engines_are_told_by_what_they_are_called() -> None:
    """On hosts nothing else says what holds a model."""
    assert {str(vars(module)["IMAGE"]) for module in MODULES.values()} == SERVICES
    for name in PROFILES:
        units = artefacts_of(name).stack.units
        assert [u.runs.service in SERVICES for u in units] == [u.tier == Tier.ENGINE for u in units]


@pytest.mark.parametrize("name", ["users_20", "users_100"])
def test_the_router_knows_every_replica(name: str) -> None:
    stack = artefacts_of(name).stack
    router, other = stack.tier(Tier.ROUTER)
    assert router.config is not None
    assert other.config == router.config
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    engines = [unit.container.name for unit in stack.tier(Tier.ENGINE)]
    assert [entry["model_info"]["id"] for entry in config["model_list"]] == engines
    for entry, unit in zip(config["model_list"], stack.tier(Tier.ENGINE), strict=True):
        parameters = entry["litellm_params"]
        assert parameters["model"] == f"hosted_vllm/{entry['model_name']}"
        assert parameters["api_base"].startswith(_way(unit))
        assert parameters["api_base"].endswith("/v1")
        assert parameters["api_key"] == "engine-key"


def _way(unit: Unit) -> str:
    """Where routers on the first host ask an engine: itself, or through the link."""
    name = unit.container.name
    return f"http://{name}:8000/" if unit.host != "gpu2" else "http://coder-listener-client-0:"


@pytest.mark.parametrize("name", PROFILES)
def test_engines_are_not_published(name: str) -> None:
    engines = artefacts_of(name).stack.tier(Tier.ENGINE)
    assert [unit.container.ports for unit in engines] == [()] * len(engines)


def test_the_router_of_an_individual_chats_and_completes() -> None:
    (router,) = artefacts_of("individual").stack.tier(Tier.ROUTER)
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    found = {entry["model_name"]: entry["litellm_params"] for entry in config["model_list"]}
    chat, completion = found["qwen2.5-coder-14b"], found["qwen2.5-coder-1.5b-base"]
    assert chat["model"] == "ollama_chat/qwen2.5-coder:14b-instruct-q4_K_M"
    assert chat["api_base"] == "http://desk-ollama-qwen2.5-coder-14b-0:11434"
    assert completion["model"] == "openai/qwen2.5-coder:1.5b-base-q4_K_M"
    assert completion["api_base"] == "http://desk-ollama-qwen2.5-coder-1.5b-base-0:11434/v1"
