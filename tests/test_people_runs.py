"""Runs of pyinfra that change people, on a host of its ``@fake`` connector."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.people.compare import compare
from deploy.people.new_keys import NewKeys
from deploy.people.records import Live, wanted
from deploy.people.requests import Requests
from deploy.spec import SecretName
from tests.fake_host import Responses, converged
from tests.fake_litellm import FakeLiteLLM
from tests.recognisable import LEAK
from tests.test_pyinfra import Site, plan

STORES = (
    SecretName.ROUTER_SALT_KEY,
    SecretName.ROUTER_DATABASE_PASSWORD,
    SecretName.WEB_UI_DATABASE_PASSWORD,
    SecretName.VALKEY_PASSWORD,
)
STEP = "Keep people and keys"
SCRIPT = "# People of the router"
PEOPLE = 'postgres={}, teams=[{"name": "research"}], people=[{"name": "ada", "team": "research"}],'
MORE = PEOPLE.replace('"team": "research"}', '"team": "research"}, {"name": "bob"}')


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.keep_secrets()
    with (tmp_path / ".secrets" / "demo.yaml").open("a") as file:
        file.writelines(f"{name}: {LEAK}-of-a-store\n" for name in STORES)
    return site


def router_with(artefacts: Artefacts) -> FakeLiteLLM:
    """A router that has the people of a deployment."""
    people, fake = artefacts.plan.people, FakeLiteLLM()
    assert people is not None
    records = wanted(people, datetime.now(UTC).date())
    changes = compare(records, Live(), artefacts.plan.name)
    keys = NewKeys.of(changes.new_keys, people.people)
    for request in Requests(artefacts.plan.name, "inventory", keys.values).of(changes):
        fake.answer(request.path, dict(request.body))
    return fake


def answers(fake: FakeLiteLLM) -> list[str]:
    """What the script prints of it."""
    rows: dict[str, Any] = {
        "teams": list(fake.teams.values()),
        "users": list(fake.users.values()),
        "keys": list(fake.keys.values()),
    }
    return [json.dumps({"state": "read", **rows})]


def host_with(artefacts: Artefacts, people: list[str]) -> Responses:
    return {SCRIPT: people, **converged(artefacts)}


def changes(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [
        line.split("Will ")[1].strip() for line in result.stderr.splitlines() if "Will " in line
    ]


def test_a_fresh_host_is_to_have_everybody(site: Site) -> None:
    site.declare(PEOPLE)
    result = site.run("--dry", "--json", "--diff")
    assert plan(result)[STEP]
    told = [line for line in changes(result) if line.endswith((" research", " ada"))]
    assert told == ["create team research", "create person ada", "create key of ada"]
    assert not list(site.directory.glob(".secrets/*-keys"))


def test_nothing_changes_where_everybody_is_as_declared(site: Site) -> None:
    artefacts = site.declare(PEOPLE)
    site.answer(host_with(artefacts, answers(router_with(artefacts))))
    result = site.run("--dry", "--json", "--diff")
    assert not any(plan(result).values())
    assert changes(result) == []


def test_a_new_person_is_announced_and_gets_a_key_that_nobody_sees(site: Site) -> None:
    before = answers(router_with(site.declare(PEOPLE)))
    artefacts = site.declare(MORE)
    site.answer(host_with(artefacts, before))
    dry = site.run("--dry", "--json", "--diff")
    assert changes(dry) == ["create person bob", "create key of bob"]
    done = site.execute("--diff", "-vvv")
    assert done.returncode == 0, done.stderr
    assert changes(done) == changes(dry)
    file = site.directory / ".secrets" / "demo-keys" / "bob.env"
    assert str(file) in done.stderr
    found = re.search(r"sk-\S+", file.read_text())
    assert found is not None
    for text in (done.stdout, done.stderr):
        assert found[0] not in text
        assert LEAK not in text


def test_what_was_changed_by_hand_is_in_the_dry_run(site: Site) -> None:
    artefacts = site.declare(PEOPLE)
    fake = router_with(artefacts)
    [row] = [row for row in fake.keys.values() if row["key_alias"] == "ada"]
    row["rpm_limit"] = 999
    site.answer(host_with(artefacts, answers(fake)))
    result = site.run("--dry", "--json", "--diff")
    assert changes(result) == ["update key of ada"]
    assert "rpm_limit: 999 (changed by hand) -> (none)" in result.stderr


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"state": "stopped"}', "no router runs"),
        (
            '{"state": "refused", "said": "/team/list answered 500"}',
            "the router refused: /team/list answered 500",
        ),
    ],
)
def test_people_wait_for_a_router_that_answers(site: Site, answer: str, why: str) -> None:
    artefacts = site.declare(PEOPLE)
    site.answer(host_with(artefacts, [answer]))
    result = site.run("--dry", "--json", "--diff")
    assert changes(result) == []
    assert f"people and keys are compared when the router answers: {why}" in result.stderr
    executed = site.execute()
    assert executed.returncode == 1
    assert f"people and keys cannot be compared: {why}" in executed.stderr


def test_people_of_another_deployment_end_the_run(site: Site) -> None:
    artefacts = site.declare(PEOPLE)
    fake = router_with(artefacts)
    fake.users["ada"]["metadata"]["atelier"]["deployment"] = "other"
    site.answer(host_with(artefacts, answers(fake)))
    result = site.run("--dry", "--json", "--diff")
    assert result.returncode == 1
    assert "person ada belongs to deployment 'other'" in result.stderr
