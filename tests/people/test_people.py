"""Declared people and what the router has: through LiteLLM's API, by the script on the host."""

from __future__ import annotations

import json
import threading
from datetime import date
from typing import Any

import pytest

from deploy.people.compare import PeopleChanges
from tests.fake_litellm import FakeLiteLLM
from tests.people.conftest import InContainer, plan_people

RESEARCH: dict[str, Any] = {"name": "research", "models": ["tiny-coder"], "tpm_limit": 5000}
ADA: dict[str, Any] = {"name": "ada", "team": "research", "rpm_limit": 10}
BOB: dict[str, Any] = {"name": "bob@lab.example"}


def announced(changes: PeopleChanges) -> dict[str, list[tuple[str, str, str]]]:
    return {
        f"{each.announced().action} {each.announced().resource}": [
            (field.field, field.old, field.new) for field in each.announced().fields
        ]
        for each in changes.changes
    }


def key_of(fake: FakeLiteLLM, alias: str) -> dict[str, Any]:
    [row] = [row for row in fake.keys.values() if row["key_alias"] == alias]
    return row


def test_a_first_deployment_makes_everything(router: InContainer, fake: FakeLiteLLM) -> None:
    plan = plan_people(
        limits={"rpm_limit": 60, "max_parallel_requests": 4}, teams=[RESEARCH], people=[ADA, BOB]
    )
    assert announced(router.compare(plan)) == {
        "create team research": [
            ("models", "(none)", "tiny-coder"),
            ("tpm_limit", "(none)", "5000"),
        ],
        "create person ada": [("teams", "(none)", "research")],
        "create person bob@lab.example": [],
        "create key of ada": [
            ("team", "(none)", "research"),
            ("rpm_limit", "(none)", "10"),
            ("max_parallel_requests", "(none)", "4"),
        ],
        "create key of bob@lab.example": [
            ("rpm_limit", "(none)", "60"),
            ("max_parallel_requests", "(none)", "4"),
        ],
    }
    keys = router.deploy(plan)
    assert set(keys) == {"ada", "bob@lab.example"}
    assert key_of(fake, "ada")["team_id"] == "research"
    assert fake.users["bob@lab.example"]["user_email"] == "bob@lab.example"
    assert fake.users["ada"]["user_role"] == "internal_user"


def test_what_is_declared_anew_is_changed_field_by_field(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    router.deploy(plan_people(teams=[RESEARCH], people=[ADA]))
    token = key_of(fake, "ada")["token"]
    changed = plan_people(
        teams=[{**RESEARCH, "tpm_limit": None, "rpm_limit": 7}],
        people=[{**ADA, "rpm_limit": None, "models": ["tiny-coder"], "email": "a@lab.example"}],
    )
    assert announced(router.compare(changed)) == {
        "update team research": [("tpm_limit", "5000", "(none)"), ("rpm_limit", "(none)", "7")],
        "update person ada": [("email", "(none)", "a@lab.example")],
        "update key of ada": [("models", "(none)", "tiny-coder"), ("rpm_limit", "10", "(none)")],
    }
    assert router.deploy(changed) == {}
    assert key_of(fake, "ada")["token"] == token


def test_what_was_changed_by_hand_is_told_apart(router: InContainer, fake: FakeLiteLLM) -> None:
    plan = plan_people(people=[ADA | {"team": None}])
    router.deploy(plan)
    key_of(fake, "ada").update(rpm_limit=999, blocked=True)
    assert announced(router.compare(plan)) == {
        "update key of ada": [
            ("rpm_limit", "999 (changed by hand)", "10"),
            ("disabled", "yes (changed by hand)", "no"),
        ]
    }
    router.deploy(plan)
    assert key_of(fake, "ada")["rpm_limit"] == 10


def test_a_key_renamed_by_hand_is_the_same_key(router: InContainer, fake: FakeLiteLLM) -> None:
    plan = plan_people(people=[BOB])
    router.deploy(plan)
    row = key_of(fake, "bob@lab.example")
    row["key_alias"] = "laptop"
    assert announced(router.compare(plan)) == {
        "update key of bob@lab.example": [("alias", "laptop (changed by hand)", "bob@lab.example")]
    }
    assert router.deploy(plan) == {}
    assert row["key_alias"] == "bob@lab.example"


def test_a_key_deleted_by_hand_is_made_anew(router: InContainer, fake: FakeLiteLLM) -> None:
    plan = plan_people(people=[BOB])
    router.deploy(plan)
    fake.keys.pop(key_of(fake, "bob@lab.example")["token"])
    assert list(announced(router.compare(plan))) == ["create key of bob@lab.example"]
    assert list(router.deploy(plan)) == ["bob@lab.example"]


def test_who_is_no_longer_declared_goes(router: InContainer, fake: FakeLiteLLM) -> None:
    router.deploy(plan_people(teams=[RESEARCH], people=[ADA, BOB]))
    rest = plan_people(people=[BOB])
    assert announced(router.compare(rest)) == {
        "remove team research": [],
        "remove person ada": [],
        "revoke key of ada": [],
    }
    router.deploy(rest)
    assert set(fake.users) == {"default_user_id", "bob@lab.example"}
    assert fake.teams == {}
    assert fake.taken_elsewhere == set()


def test_an_address_goes_to_somebody_else(router: InContainer, fake: FakeLiteLLM) -> None:
    """To who is declared under another name, and to who comes as its owner gets another one."""
    address, other = "ada@lab.example", "eve@lab.example"
    before = [{"name": "ada", "email": address}, {"name": "eve", "email": other}]
    router.deploy(plan_people(people=before))
    after = [
        {"name": "a.lovelace", "email": "Ada@lab.example"},
        {"name": "bob", "email": other},
        {"name": "eve", "email": "eve@home.example"},
    ]
    plan = plan_people(people=after)
    assert set(router.deploy(plan)) == {"a.lovelace", "bob"}
    addresses = {name: user["user_email"] for name, user in fake.users.items() if "@" in str(user)}
    assert addresses == {each["name"]: each["email"] for each in after}
    assert not router.compare(plan).changes


def test_keys_that_go_with_a_team_or_a_person_are_announced(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    router.deploy(plan_people(teams=[RESEARCH], people=[ADA]))
    by_hand = {"token": "e" * 64, "key_alias": "bot", "metadata": {}}
    fake.keys["e" * 64] = {**key_of(fake, "ada"), **by_hand}
    assert router.compare(plan_people(teams=[RESEARCH], people=[ADA])).others == ("bot of ada",)
    gone = router.compare(plan_people())
    assert "revoke key of bot" in announced(gone)
    assert gone.others == ()
    router.deploy(plan_people())


def test_a_person_moves_from_a_team_that_goes(router: InContainer, fake: FakeLiteLLM) -> None:
    router.deploy(plan_people(teams=[RESEARCH], people=[ADA]))
    token = key_of(fake, "ada")["token"]
    router.deploy(plan_people(teams=[{"name": "teaching"}], people=[{**ADA, "team": "teaching"}]))
    assert key_of(fake, "ada")["token"] == token
    assert fake.users["ada"]["teams"] == ["teaching"]


def test_a_person_leaves_a_team_that_stays(router: InContainer, fake: FakeLiteLLM) -> None:
    router.deploy(plan_people(teams=[RESEARCH], people=[ADA]))
    token = key_of(fake, "ada")["token"]
    router.deploy(plan_people(teams=[RESEARCH], people=[{**ADA, "team": None}]))
    assert key_of(fake, "ada")["token"] == token
    assert fake.users["ada"]["teams"] == []


def test_the_last_day_of_a_key(router: InContainer, fake: FakeLiteLLM) -> None:
    lasting = plan_people(people=[{**BOB, "expires": "2099-12-31"}])
    router.deploy(lasting)
    assert key_of(fake, "bob@lab.example")["expires"].startswith(("2099-12-31T23:59", "2100-01-01"))
    shorter = plan_people(people=[{**BOB, "expires": "2098-06-30"}])
    assert announced(router.compare(shorter)) == {
        "update key of bob@lab.example": [("expires", "2099-12-31", "2098-06-30")]
    }
    router.deploy(shorter)
    router.deploy(plan_people(people=[BOB]))
    assert key_of(fake, "bob@lab.example")["expires"] is None


def test_an_end_that_was_set_by_hand_is_shown_as_a_time(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    plan = plan_people(people=[BOB])
    router.deploy(plan)
    key_of(fake, "bob@lab.example")["expires"] = "2031-05-06T07:08:09.123000Z"
    assert announced(router.compare(plan)) == {
        "update key of bob@lab.example": [
            ("expires", "2031-05-06 07:08 UTC (changed by hand)", "(none)")
        ]
    }


def test_a_key_whose_last_day_is_over_is_revoked(router: InContainer, fake: FakeLiteLLM) -> None:
    plan, last_day = plan_people(people=[{**BOB, "expires": "2099-12-31"}]), date(2099, 12, 31)
    router.deploy(plan, last_day)
    after = date(2100, 1, 1)
    assert list(announced(router.compare(plan, after))) == ["revoke key of bob@lab.example"]
    router.deploy(plan, after)
    assert "bob@lab.example" in fake.users


def test_what_others_made_is_left_alone_or_taken_over(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    fake.users["bob@lab.example"] = {
        "user_id": "bob@lab.example",
        "teams": [],
        "metadata": {"x": 1},
    }
    plan = plan_people(people=[BOB])
    assert announced(router.compare(plan))["update person bob@lab.example"] == [
        ("kept by", "no one", "the inventory"),
        ("email", "(none)", "bob@lab.example"),
    ]
    router.deploy(plan)
    assert fake.users["bob@lab.example"]["metadata"]["x"] == 1


def test_people_of_another_deployment_are_not_touched(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    router.deploy(plan_people(people=[BOB]))
    for row in (fake.users["bob@lab.example"], key_of(fake, "bob@lab.example")):
        row["metadata"]["atelier"]["deployment"] = "other"
    assert router.compare(plan_people(people=[BOB])).foreign == (
        "person bob@lab.example belongs to deployment 'other'",
        "key bob@lab.example belongs to deployment 'other'",
    )
    assert router.compare(plan_people()).changes == ()


def test_more_people_than_a_page_has(router: InContainer, fake: FakeLiteLLM) -> None:
    plan = plan_people(people=[{"name": f"person{number}"} for number in range(7)])
    assert len(router.deploy(plan)) == 7


def test_a_router_without_its_database_has_nobody_yet(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    fake.has_database = False
    assert json.loads(router.run("look").stdout)["state"] == "no database"


def test_a_router_that_does_not_reach_its_database_has_people(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    """Else everybody would be given a new key."""
    router.deploy(plan_people(people=[BOB]))
    router.environment, router.patience_seconds = {"DATABASE_URL": "postgresql://db/litellm"}, 1
    fake.has_database = False
    said = json.loads(router.run("look").stdout)
    assert said["state"] == "refused"
    assert "DB not connected" in said["said"]


def test_a_router_that_has_just_started_is_waited_for(
    router: InContainer, fake: FakeLiteLLM
) -> None:
    plan = plan_people(people=[BOB])
    router.deploy(plan)
    router.environment = {"DATABASE_URL": "postgresql://db/litellm"}
    fake.has_database = False
    connecting = threading.Timer(1.5, setattr, (fake, "has_database", True))
    connecting.start()
    assert router.compare(plan).changes == ()
    assert fake.has_database


def test_a_refusal_is_shown_without_keys(router: InContainer, fake: FakeLiteLLM) -> None:
    fake.key = "sk-another"
    said = json.loads(router.run("look").stdout)
    assert said["state"] == "refused"
    assert said["said"].startswith("/team/list answered 401")
    assert "sk-master" not in said["said"]


@pytest.mark.timeout(60)
def test_requests_end_at_the_first_refusal(router: InContainer, fake: FakeLiteLLM) -> None:
    requests = [
        {"path": "/team/new", "body": {"team_id": "a"}},
        {"path": "/key/generate", "body": {"key": "sk-1", "key_alias": None, "team_id": None}},
        {"path": "/nothing/here", "body": {}},
        {"path": "/team/new", "body": {"team_id": "b"}},
    ]
    done = router.run("apply", json.dumps(requests))
    assert done.returncode == 1
    assert done.stderr.startswith("/nothing/here answered 404")
    assert list(fake.teams) == ["a"]
