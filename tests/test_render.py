"""Templates: a missing value is an error, and what they render is what they say it is."""

from __future__ import annotations

import pytest
import yaml
from jinja2 import UndefinedError

from deploy.catalog import Catalog
from deploy.images import make_build_plan
from deploy.render import TEMPLATES, render
from deploy.spec import PriceSpec

AWKWARD = 'a "quoted": {{ name }} # \n- x'


def upstream(model: str, name: str) -> dict[str, object]:
    return {
        "model": model,
        "provider": "openai",
        "upstream_model": model,
        "api_base": f"http://{name}:8080/v1",
        "has_key": True,
        "has_responses": True,
        "name": name,
        "room": 4,
        "mode": "",
    }


VALUES = {
    "engine_key": "engine-key",
    "replicas": [upstream(AWKWARD, "one"), upstream("two", "two")],
    "num_retries": 3,
    "request_timeout_seconds": 100,
    "request_log_days": 90,
    "stream_timeouts": {"one": 10, "two": 20},
    "timeout_retries": {AWKWARD: 0, "two": 1},
    "aliases": {"gpt-4o": AWKWARD},
    "fallbacks": [{"two": [AWKWARD]}],
    "prices": {"two": PriceSpec(input=0.5, output=3)},
    "connections": 10,
    "has_database": False,
    "shares_state": False,
}


@pytest.mark.parametrize("missing", VALUES)
def test_a_missing_value_is_an_error(missing: str) -> None:
    stores = {"has_database": True, "shares_state": True}
    values = {name: value for name, value in (VALUES | stores).items() if name != missing}
    with pytest.raises(UndefinedError, match=missing):
        render("litellm/config.yaml.j2", **values)


def test_litellm_config_parses_back() -> None:
    config = yaml.safe_load(render("litellm/config.yaml.j2", **VALUES | {"prices": {}}))
    assert config["model_list"] == [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": f"http://{name}:8080/v1",
                "api_key": "engine-key",
                "stream_timeout": timeout,
            },
            "model_info": {"id": name, "room": 4},
        }
        for model, name, timeout in ((AWKWARD, "one", 10), ("two", "two", 20))
    ]
    assert config["router_settings"]["num_retries"] == 3
    assert config["router_settings"]["model_group_retry_policy"] == {
        AWKWARD: {"TimeoutErrorRetries": 0},
        "two": {"TimeoutErrorRetries": 1},
    }
    assert config["litellm_settings"]["request_timeout"] == 100
    assert config["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}


def test_other_names_fallbacks_and_prices_parse_back() -> None:
    config = yaml.safe_load(render("litellm/config.yaml.j2", **VALUES))
    assert config["router_settings"]["model_group_alias"] == {"gpt-4o": AWKWARD}
    assert config["router_settings"]["fallbacks"] == [{"two": [AWKWARD]}]
    first, second = (model["litellm_params"] for model in config["model_list"])
    assert "input_cost_per_token" not in first
    # for one token, declared for a million
    assert second["input_cost_per_token"] == pytest.approx(0.5e-6)
    assert second["output_cost_per_token"] == pytest.approx(3e-6)


def test_litellm_with_stores_parses_back() -> None:
    stores = {"has_database": True, "shares_state": True}
    config = yaml.safe_load(render("litellm/config.yaml.j2", **VALUES | stores))
    assert config["general_settings"] == {
        "master_key": "os.environ/LITELLM_MASTER_KEY",
        "database_url": "os.environ/DATABASE_URL",
        "database_connection_pool_limit": 10,
        "store_model_in_db": False,
        "maximum_spend_logs_retention_period": "90d",
        "coordination_redis": {"url": "os.environ/REDIS_URL"},
    }


def test_every_dockerfile_renders(catalog: Catalog) -> None:
    folders = sorted(path.name for path in (TEMPLATES / "images").iterdir())
    assert folders == sorted(name for name, image in catalog.images.items() if image.build)
    for name in folders:
        plan = make_build_plan(name, catalog)
        instructions = [
            line.split()[0]
            for line in plan.context["Dockerfile"].replace("\\\n", "").splitlines()
            if line and not line.startswith("#")
        ]
        known = {"FROM", "COPY", "ARG", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE"}
        assert set(instructions) <= known | {"ENTRYPOINT", "CMD", "STOPSIGNAL"}
        assert instructions[0] == "FROM"


def test_there_is_no_template_that_no_test_renders() -> None:
    templates = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.j2")}
    dockerfiles = {f"images/{path.name}/Dockerfile.j2" for path in (TEMPLATES / "images").iterdir()}
    others = {"litellm/config.yaml.j2", "haproxy/haproxy.cfg.j2", "haproxy/link.cfg.j2"}
    others |= {"systemd/unit.service.j2", "rabbitmq/rabbitmq.conf.j2"}
    assert templates == dockerfiles | others
