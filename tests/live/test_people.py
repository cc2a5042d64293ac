"""Day-2 commands for people, through a made-up LiteLLM over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.errors import ServiceError
from deploy.live import router as live_router
from deploy.live.router import Router, open_routers
from tests.cli.run import run
from tests.conftest import MakeArtefacts
from tests.fake_litellm import FakeLiteLLM, NotAllowedError, run_fake_litellm
from tests.recognisable import write_secrets

SETTINGS: dict[str, Any] = {
    "name": "demo",
    "profile": "individual",
    "hosts": [{"name": "@local"}],
    "models": [{"name": "tiny-coder"}],
    "postgres": {},
    "limits": {"rpm_limit": 60},
    "teams": [{"name": "research"}],
    "people": [{"name": "ada", "team": "research"}],
}
Atelier = Callable[..., str]


@pytest.fixture
def fake() -> Iterator[FakeLiteLLM]:
    with run_fake_litellm() as fake:
        fake.answer("/team/new", {"team_id": "research"})
        yield fake


@pytest.fixture
def inventory(tmp_path: Path, fake: FakeLiteLLM, monkeypatch: pytest.MonkeyPatch) -> Path:
    @contextmanager
    def opened(artefacts: Artefacts) -> Iterator[dict[str, Router]]:
        yield {"litellm": Router(fake.url, fake.key)}

    monkeypatch.setattr(live_router, "open_routers", opened)
    write_secrets(tmp_path / ".secrets" / "demo.yaml")
    path = tmp_path / "demo.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def keys(inventory: Path, name: str) -> str:
    return (inventory.parent / ".secrets" / "demo-keys" / f"{name}.env").read_text()


def test_a_person_is_added_with_the_limits_of_the_inventory(
    inventory: Path, fake: FakeLiteLLM
) -> None:
    said = run(
        "users", "add", str(inventory), "bob", "--team", "research", "--expires", "2099-01-31"
    )
    [row] = [row for row in fake.keys.values() if row["key_alias"] == "bob"]
    assert (row["team_id"], row["rpm_limit"]) == ("research", 60)
    assert row["metadata"]["atelier"]["kept_by"] == "command"
    assert "bob.env" in said.replace("\n", "")
    [(_, asked)] = [each for each in fake.asked if each[0] == "/key/generate"]
    assert asked["key"] in keys(inventory, "bob")
    assert asked["key"] not in said


def test_who_has_a_key_is_not_added_again(inventory: Path) -> None:
    run("users", "add", str(inventory), "bob")
    said = run("users", "add", str(inventory), "bob", stream="stderr", status=1)
    assert "bob: has a key already" in said
    assert "atelier users rotate INVENTORY bob" in said


@pytest.mark.parametrize("verb", ["add", "disable", "enable", "remove"])
def test_who_is_declared_is_changed_in_the_inventory(
    inventory: Path, fake: FakeLiteLLM, verb: str
) -> None:
    more = ["--yes"] if verb == "remove" else []
    said = run("users", verb, str(inventory), "ada", *more, stream="stderr", status=1)
    assert "ada: declared in the inventory" in said
    assert "change it there" in said
    assert len(fake.keys) == 1


def test_wrong_teams_models_and_days(inventory: Path, fake: FakeLiteLLM) -> None:
    wrong = ["--team", "nope", "--model", "gpt-5", "--expires", "2001-01-01"]
    said = run("users", "add", str(inventory), "bob", *wrong, stream="stderr", status=1)
    assert "bob: team: 'nope'" in said
    assert "bob: models: 'gpt-5'" in said
    assert "bob: expires: 2001-01-01" in said
    assert not [path for path, _ in fake.asked if path == "/user/new"]


def test_a_file_with_one_who_is_there_adds_nobody(inventory: Path, fake: FakeLiteLLM) -> None:
    run("users", "add", str(inventory), "bob")
    file = inventory.parent / "people.csv"
    file.write_text("name\ncy\nbob\n")
    run("users", "add", str(inventory), "--file", str(file), stream="stderr", status=1)
    assert "cy" not in fake.users
    file.write_text("name\ncy\ndee\n")
    run("users", "add", str(inventory), "--file", str(file))
    assert {"cy", "dee"} < set(fake.users)


def test_an_address_is_one_persons(inventory: Path, fake: FakeLiteLLM) -> None:
    """Routers know by it who asks in the web UI, and LiteLLM refuses another one with it."""
    run("users", "add", str(inventory), "bob", "--email", "b@lab.example")
    add = ("users", "add", str(inventory))
    said = run(*add, "eve", "--email", "B@lab.example", stream="stderr", status=1)
    assert "eve: email: B@lab.example is the address of bob" in said
    file = inventory.parent / "guests.csv"
    file.write_text("name,email\ncy,x@lab.example\ndee,X@lab.example\n")
    said = run(*add, "--file", str(file), stream="stderr", status=1)
    assert "dee: email: X@lab.example is the address of cy" in said
    assert not {"cy", "dee", "eve"} & fake.users.keys()
    assert not (inventory.parent / ".secrets" / "demo-keys" / "cy.env").exists()


def test_a_rotated_key_keeps_limits_and_spending(inventory: Path, fake: FakeLiteLLM) -> None:
    run("users", "add", str(inventory), "bob", "--expires", "2099-01-31")
    [old] = [row for row in fake.keys.values() if row["key_alias"] == "bob"]
    old["spend"] = 3.5
    before = keys(inventory, "bob")
    run("users", "rotate", str(inventory), "bob")
    [new] = [row for row in fake.keys.values() if row["key_alias"] == "bob"]
    assert new["token"] != old["token"]
    assert old["token"] not in fake.keys
    assert fake.taken_elsewhere == set()
    assert (new["spend"], new["rpm_limit"]) == (3.5, 60)
    assert new["expires"][:10] in {"2099-01-31", "2099-02-01"}
    assert keys(inventory, "bob") != before


def test_a_key_that_has_ended_is_not_rotated(inventory: Path, fake: FakeLiteLLM) -> None:
    run("users", "add", str(inventory), "bob")
    [row] = [row for row in fake.keys.values() if row["key_alias"] == "bob"]
    row["expires"] = "2001-05-06T07:08:09Z"
    said = run("users", "rotate", str(inventory), "bob", stream="stderr", status=1)
    assert "the key ended: 2001-05-06 07:08 UTC" in said


def test_a_person_is_disabled_enabled_and_removed(inventory: Path, fake: FakeLiteLLM) -> None:
    run("users", "add", str(inventory), "bob")
    [row] = [row for row in fake.keys.values() if row["key_alias"] == "bob"]
    run("users", "disable", str(inventory), "bob")
    assert row["blocked"] is True
    assert "disabled" in run("users", "list", str(inventory))
    run("users", "enable", str(inventory), "bob")
    assert row["blocked"] is False
    run("users", "remove", str(inventory), "bob", "--yes")
    assert "bob" not in fake.users
    assert row["token"] not in fake.keys
    assert fake.taken_elsewhere == set()


def test_the_list_as_json(inventory: Path) -> None:
    run("users", "add", str(inventory), "bob@lab.example", "--max-parallel-requests", "2")
    found = json.loads(run("users", "list", str(inventory), "--json"))
    assert found["people"] == [
        {
            "name": "bob@lab.example",
            "email": "bob@lab.example",
            "team": None,
            "models": [],
            "limits": {"rpm_limit": 60, "max_parallel_requests": 2},
            "spend": 0.0,
            "expires": None,
            "disabled": False,
            "kept_by": "atelier users",
        }
    ]
    assert found["teams"][0]["name"] == "research"
    shown = run("users", "show", str(inventory), "bob@lab.example")
    assert "rpm_limit 60, max_parallel_requests 2" in shown
    run("users", "show", str(inventory), "eve", stream="stderr", status=1)


def test_an_error_of_the_router_shows_no_key(inventory: Path, fake: FakeLiteLLM) -> None:
    def refuse(asked: dict[str, Any]) -> Any:
        raise NotAllowedError(500, f"cannot keep {asked['key']}")

    fake._key_generate = refuse  # type: ignore[method-assign]
    said = run("users", "add", str(inventory), "bob", stream="stderr", status=1)
    assert "cannot keep <key of bob>" in said


def test_use_of_several_pages(inventory: Path, fake: FakeLiteLLM) -> None:
    metrics = {
        "api_requests": 1200,
        "failed_requests": 1,
        "prompt_tokens": 5_000_000,
        "completion_tokens": 20,
        "spend": 0.123456,
    }
    day = {"breakdown": {"entities": {"ada": {"metrics": metrics}}}}
    fake.usage = [[day], [day]]
    table = run("usage", str(inventory), "--since", "3d")
    assert "2,400" in table
    assert "10,000,000" in table
    found = json.loads(run("usage", str(inventory), "--by", "team", "--json"))
    assert found["usage"][0]["requests"] == 2400
    assert fake.asked[-1][0] == "/team/daily/activity"
    assert run("usage", str(inventory), "--csv").splitlines() == [
        "name,requests,failed_requests,prompt_tokens,completion_tokens,spend",
        "ada,2400,2,10000000,40,0.246912",
    ]


def test_a_deployment_without_a_database_has_no_people(make: MakeArtefacts) -> None:
    with pytest.raises(ServiceError) as refused, open_routers(make()):
        pass
    assert str(refused.value) == (
        "people: the router has no database, and so no key but the master key\n"
        "    fix: declare postgres=Postgres(), and deploy"
    )


def test_a_router_that_is_gone(inventory: Path, fake: FakeLiteLLM) -> None:
    fake.url = "http://127.0.0.1:1"
    said = run("users", "list", str(inventory), stream="stderr", status=1)
    assert "/user/list: the router does not answer" in said
