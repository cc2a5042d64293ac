"""PostgreSQL and Valkey, and what router and web UI are given of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.services import Tier, Unit
from deploy.services.postgres import database_url, major_version
from deploy.services.routes import router_addresses
from deploy.spec import SecretText
from tests.conftest import MakeArtefacts

STORES: dict[str, Any] = {"postgres": {}, "valkey": {}}


@pytest.fixture
def stored(make: MakeArtefacts) -> Artefacts:
    return make(router={"replicas": 2}, entry={}, **STORES)


def unit(artefacts: Artefacts, name: str) -> Unit:
    return next(unit for unit in artefacts.stack.units if unit.name == f"demo-{name}")


def rendered(artefacts: Artefacts, name: str, variable: str) -> str:
    value = unit(artefacts, name).container.env[variable]
    assert isinstance(value, SecretText)
    return value.render(lambda secret: f"<{secret}>")


def test_stores_start_first_and_are_published_nowhere(stored: Artefacts) -> None:
    assert [u.name for u in stored.stack.tier(Tier.STORE)] == ["demo-postgres-0", "demo-valkey-0"]
    assert stored.stack.tiers()[0] == Tier.STORE
    for store in stored.stack.tier(Tier.STORE):
        assert store.container.ports == ()
        assert store.volumes == (f"demo-{store.image_name}",)


def test_no_password_is_an_argument_or_in_a_file(stored: Artefacts) -> None:
    for store in stored.stack.tier(Tier.STORE):
        arguments = " ".join(store.create_arguments("demo", stored.secrets.digest))
        assert store.config is not None
        files = " ".join(str(file.content) for file in store.config.files.values())
        for name in stored.stack.secrets:
            assert stored.secrets.value(name) not in arguments + files


def test_every_router_has_the_same_stores(stored: Artefacts) -> None:
    first, second = unit(stored, "litellm-0"), unit(stored, "litellm-1")
    own = {"ATELIER_REPLICA": "1"}
    assert first.container.env | own == second.container.env
    assert (len(first.container.ports), second.container.ports) == (1, ())
    assert router_addresses(stored.context, stored.plan.router, 4000) == (
        "demo-litellm-0:4000",
        "demo-litellm-1:4000",
    )
    url = "postgresql://litellm:<router_database_password>@demo-postgres-0:5432/litellm"
    assert rendered(stored, "litellm-0", "DATABASE_URL") == url
    assert rendered(stored, "litellm-0", "REDIS_URL") == (
        "redis://:<valkey_password>@demo-valkey-0:6379/0"
    )
    assert rendered(stored, "litellm-0", "LITELLM_SALT_KEY") == "<router_salt_key>"


def test_rows_of_requests_are_not_kept_for_ever(make: MakeArtefacts) -> None:
    other = make(router={"request_log_days": 7}, **STORES)
    for artefacts, kept in ((make(**STORES), "30d"), (other, "7d")):
        config = unit(artefacts, "litellm-0").config
        assert config is not None
        settings = yaml.safe_load(str(config.files["config.yaml"].content))["general_settings"]
        assert settings["maximum_spend_logs_retention_period"] == kept


def test_the_web_ui_keeps_its_data_there(stored: Artefacts) -> None:
    url = (
        "postgresql+psycopg://open_webui:<web_ui_database_password>@demo-postgres-0:5432/open_webui"
    )
    assert rendered(stored, "open-webui-0", "DATABASE_URL") == url
    data_file = unit(stored, "open-webui-0").data_file
    assert data_file is not None
    assert not data_file.is_right("SQLite format 3")
    assert data_file.is_right("")


def test_the_web_ui_may_stay_on_sqlite(make: MakeArtefacts) -> None:
    found = make(postgres={"web_ui": False})
    assert "DATABASE_URL" not in unit(found, "open-webui-0").container.env
    assert unit(found, "open-webui-0").data_file is None
    assert unit(found, "postgres-0").container.env["ATELIER_DATABASES"] == "litellm"
    assert "web_ui_database_password" not in found.secrets.names


def test_without_stores_nothing_changes(demo: Artefacts) -> None:
    assert demo.stack.tier(Tier.STORE) == ()
    assert not {"DATABASE_URL", "REDIS_URL", "LITELLM_SALT_KEY"} & set(
        unit(demo, "litellm-0").container.env
    )
    assert "router_salt_key" not in demo.secrets.names


def test_stores_of_the_operators(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_DB", "postgres://r:leaked@db.lab/router")
    monkeypatch.setenv("WEB_UI_DB", "postgres://w:leaked@db.lab/web")
    monkeypatch.setenv("CACHE", "rediss://:leaked@cache.lab:6379/1")
    found = make(
        postgres={
            "router_database_url": {"env": "ROUTER_DB"},
            "web_ui_database_url": {"env": "WEB_UI_DB"},
        },
        valkey={"url": {"env": "CACHE"}},
    )
    assert found.stack.tier(Tier.STORE) == ()

    def value(name: str, variable: str) -> str:
        text = unit(found, name).container.env[variable]
        assert isinstance(text, SecretText)
        return found.secrets.render(text)

    assert value("litellm-0", "DATABASE_URL") == "postgresql://r:leaked@db.lab/router"
    assert value("litellm-0", "REDIS_URL") == "rediss://:leaked@cache.lab:6379/1"
    assert value("open-webui-0", "DATABASE_URL") == "postgresql+psycopg://w:leaked@db.lab/web"
    assert found.secrets.redact("postgresql://r:leaked@db.lab/router") == (
        "<postgres.router_database_url>"
    )
    assert "router_database_password" not in found.secrets.names


@pytest.mark.parametrize(
    ("reference", "major"),
    [
        ("docker.io/library/postgres:17.11-trixie", "17"),
        ("registry.lab:5000/postgres:18", "18"),
        ("registry.lab:5000/postgres", ""),
        ("postgres@sha256:" + "0" * 64, ""),
        ("atelier/postgres:17-1b89cb1d", "17"),
    ],
)
def test_the_major_version_of_a_reference(reference: str, major: str) -> None:
    assert major_version(reference) == major


def test_data_of_another_version_are_not_right(stored: Artefacts) -> None:
    file = unit(stored, "postgres-0").data_file
    assert file is not None
    assert (file.is_right("17"), file.is_right("16"), file.is_right("")) == (True, False, True)
    assert database_url(stored.context, "litellm") is not None
