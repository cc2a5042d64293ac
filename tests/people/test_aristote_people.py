"""People of Aristote: the program in its container, on a database of the test's."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import PeopleError, ServiceError
from deploy.live.people import People
from deploy.live.privacy import execs
from deploy.live.sender import Sender
from deploy.people.compare import compare
from deploy.people.new_keys import Handover
from deploy.people.records import wanted
from deploy.people.requests import Request, Requests
from deploy.people.usage import Usage
from deploy.plan.people_plan import PeoplePlan, PersonPlan, TeamPlan
from deploy.spec import PersonSpec
from tests.conftest import MakeArtefacts
from tests.people.aristote_container import MASTER, Container

DAY = date(2026, 11, 29)


def plan(*people: PersonPlan) -> PeoplePlan:
    return PeoplePlan(teams=(TeamPlan(name="physics"), TeamPlan(name="maths")), people=people)


ADA = PersonPlan(name="ada", email="ada@lab.example", team="physics")
BOB = PersonPlan(name="bob")
KEYS = {"ada": "sk-ada-key", "bob": "sk-bob-key"}


def declare(container: Container, *people: PersonPlan) -> int:
    """Make it so; says how many records changed."""
    changes = compare(wanted(plan(*people), DAY), container.look(), "demo")
    assert not changes.foreign
    done = container.send(Requests("demo", "inventory", KEYS).of(changes))
    assert done.returncode == 0, done.stderr
    return len(changes.changes)


def test_people_get_a_row_each_and_a_second_time_nothing_changes(container: Container) -> None:
    assert declare(container, ADA, BOB) == 6
    assert container.users() == {
        "atelier": (MASTER, "lab", None, 3, 10),
        "by-hand": ("sk-by-hand", "lab", None, 3, 10),
        "ada": ("sk-ada-key", "physics", "ada@lab.example", 3, 10),
        "bob": ("sk-bob-key", "lab", None, 3, 10),
    }
    assert declare(container, ADA, BOB) == 0


def test_no_key_is_shown(container: Container) -> None:
    declare(container, ADA)
    said = container.run("look").stdout
    for key in (MASTER, "sk-ada-key", "sk-by-hand"):
        assert key not in said
    assert hashlib.sha256(b"sk-ada-key").hexdigest() in said


def test_looking_writes_nothing(container: Container) -> None:
    before = container.database.read_bytes()
    assert [key.name for key in container.look().of("key")] == ["by-hand"]
    assert container.database.read_bytes() == before


def test_users_that_were_made_by_hand_are_left_alone(container: Container) -> None:
    found = compare(wanted(plan(ADA), DAY), container.look(), "demo")
    assert found.others == ("by-hand of no one",)
    declare(container, ADA)
    declare(container)
    assert sorted(container.users()) == ["atelier", "by-hand"]


def test_another_team_and_address_are_written_to_the_row(container: Container) -> None:
    declare(container, ADA)
    other = ADA.model_copy(update={"team": "maths", "email": "a@maths.example"})
    assert declare(container, other) == 2
    assert container.users()["ada"][:3] == ("sk-ada-key", "maths", "a@maths.example")
    assert declare(container, other) == 0


def test_who_has_no_engines_of_their_own_is_sent_to_any(container: Container) -> None:
    """Else Aristote would refuse all that they ask, or what they ask of one model."""
    container.mode = "private-first"
    declare(container, ADA, BOB)
    connection = sqlite3.connect(container.database)
    modes = dict(connection.execute("SELECT name, default_routing_mode FROM users").fetchall())
    connection.close()
    assert (modes["ada"], modes["bob"]) == ("any", "private-first")


def test_a_disabled_key_matches_no_token_and_comes_back(container: Container) -> None:
    declare(container, ADA)
    assert declare(container, ADA.model_copy(update={"disabled": True})) == 1
    token = container.users()["ada"][0]
    # what clients send is split at spaces
    assert (token, len(token.split())) == ("blocked sk-ada-key", 2)
    assert declare(container, ADA.model_copy(update={"disabled": True})) == 0
    declare(container, ADA)
    assert container.users()["ada"][0] == "sk-ada-key"


def test_who_was_deleted_by_hand_is_made_anew_and_changes_as_before(container: Container) -> None:
    """As Aristote's own command deletes: the row of Atelier's table stays."""
    declare(container, ADA)
    container.execute("DELETE FROM users WHERE name = 'ada'")
    KEYS["ada"] = "sk-ada-second"
    try:
        assert declare(container, ADA) == 1
    finally:
        KEYS["ada"] = "sk-ada-key"
    other = ADA.model_copy(update={"email": "a@maths.example"})
    assert declare(container, other) == 1
    assert container.users()["ada"][:3] == ("sk-ada-second", "physics", "a@maths.example")
    assert declare(container, other) == 0
    container.execute("DELETE FROM users WHERE name = 'ada'")
    declare(container)
    assert not container.look().find("person", "ada")
    connection = sqlite3.connect(container.database)
    kinds = connection.execute("SELECT kind FROM atelier_people ORDER BY id").fetchall()
    connection.close()
    assert kinds == [("team",), ("team",)]


def test_all_or_nothing_and_errors_show_no_key(container: Container) -> None:
    key = {"key": "sk-by-hand", "key_alias": "eve", "user_id": None, "team_id": None}
    requests = [Request("/team/new", {"team_id": "art"}), Request("/key/generate", key)]
    failed = container.send(requests)
    assert (failed.returncode, failed.stderr) == (1, "Error\n")
    assert not container.look().of("team")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("/budget/new", {}), "/budget/new: Aristote has nothing like it"),
        (
            Request("/key/generate", {"key": "sk-a", "ends": "2030-01-01"}),
            "/key/generate: Aristote has nothing like it",
        ),
        (Request("/key/update", {"key": "f" * 64}), "there is no key ffffffff"),
    ],
)
def test_what_cannot_be_done_is_refused(container: Container, request_: Request, said: str) -> None:
    failed = container.send([request_])
    assert (failed.returncode, failed.stderr.strip()) == (1, said)


@pytest.fixture
def people(
    container: Container, make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> People:
    """What ``atelier users`` works with."""

    def stream(_: Any, name: str, command: Sequence[str], said: str = "") -> Iterator[bytes]:
        assert name == "demo-aristote-sender-0"
        assert command[:2] == ["python3", "-c"]
        assert "sk-" not in command[-1]
        done = container.run(command[3], said)
        yield (done.stdout + done.stderr).encode()

    monkeypatch.setattr(execs, "stream", stream)
    connection: Any = type("Connection", (), {"client": None})()
    artefacts = make(router={"kind": "aristote"}, postgres={}, people=[{"name": "ada"}])
    sender = Sender(connection, "demo-aristote-sender-0")
    return People(
        artefacts, {"aristote": sender}, Handover(tmp_path / "keys", "demo", "http://here")
    )


def test_the_verbs_of_users(people: People, container: Container, tmp_path: Path) -> None:
    declare(container, PersonPlan(name="ada"))
    [path] = people.add([PersonSpec(name="eve", team="physics")])
    first = container.users()["eve"]
    assert first[1] == "physics"
    assert f"OPENAI_API_KEY={first[0]}" in path.read_text()
    people.rotate("eve")
    second = container.users()["eve"]
    assert second[0] != first[0]
    assert sorted(container.users()) == ["ada", "atelier", "by-hand", "eve"]
    assert second[0] in (tmp_path / "keys" / "eve.env").read_text()
    people.disable("eve", disabled=True)
    assert container.users()["eve"][0].startswith("blocked ")
    people.disable("eve", disabled=False)
    assert container.users()["eve"] == second
    people.remove("eve")
    assert "eve" not in container.users()
    # the next deployment leaves whom the command added alone
    people.add([PersonSpec(name="eve")])
    assert declare(container, PersonPlan(name="ada")) == 0


def test_a_new_key_in_the_place_of_another_keeps_its_priority(
    people: People, container: Container
) -> None:
    people.add([PersonSpec(name="eve")])
    container.execute("UPDATE users SET priority = 5, client_type = 'chat' WHERE name = 'eve'")
    people.rotate("eve")
    people.add([PersonSpec(name="ida")])
    query = "SELECT priority, threshold, client_type FROM users"
    connection = sqlite3.connect(container.database)
    found = connection.execute(f"{query} WHERE name IN ('eve', 'ida') ORDER BY name").fetchall()
    connection.close()
    assert found == [(5, 10, "chat"), (3, 10, None)]


def test_the_name_of_the_deployments_own_user_is_refused(
    people: People, container: Container
) -> None:
    with pytest.raises(PeopleError, match="its key is the master key"):
        people.add([PersonSpec(name="atelier")])
    assert container.users()["atelier"][0] == MASTER
    assert not container.look().of("person")


def test_what_aristote_cannot_keep_to_is_refused(people: People, container: Container) -> None:
    with pytest.raises(PeopleError) as refused:
        people.add([PersonSpec(name="eve", rpm_limit=60, expires=date(2099, 1, 1))])
    assert [problem.path for problem in refused.value.problems] == [
        "eve: expires",
        "eve: rpm_limit",
    ]
    assert "eve" not in container.users()


def test_a_database_that_is_away(people: People, container: Container) -> None:
    container.database.unlink()
    with pytest.raises(ServiceError, match=r"its database refused: Error"):
        people.routers["aristote"].people()
    with pytest.raises(ServiceError, match=r"demo-aristote-sender-0: Error"):
        people.routers["aristote"].send([Request("/key/delete", {"keys": ["f" * 64]})])


def test_use_is_added_up(people: People, container: Container) -> None:
    rows = [
        ("atelier", "lab", "tiny", "2026-11-29 10:00:00", 5, 7),
        ("ada", "physics", "tiny", "2026-11-29 23:59:59", 10, 20),
        # a stream whose client did not ask for tokens
        ("ada", "physics", "big", "2026-11-28 00:00:00", None, None),
        ("ada", "physics", "big", "2026-11-30 00:00:00", 1000, 1000),
        ("bob", "lab", "tiny", "2026-11-27 23:59:59", 1000, 1000),
        # made by hand, without an organisation
        ("eve", None, "tiny", "2026-11-28 12:00:00", 1, 1),
    ]
    connection = sqlite3.connect(container.database)
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    first = date(2026, 11, 28)
    assert people.routers["aristote"].usage("user", first, DAY) == [
        Usage("ada", requests=2, prompt_tokens=10, completion_tokens=20),
        Usage("(master key)", requests=1, prompt_tokens=5, completion_tokens=7),
        Usage("eve", requests=1, prompt_tokens=1, completion_tokens=1),
    ]
    teams = [each.name for each in people.routers["aristote"].usage("team", first, DAY)]
    assert teams == ["physics", "lab", "(no team)"]
    models = people.routers["aristote"].usage("model", first, DAY)
    assert [(each.name, each.requests) for each in models] == [("tiny", 3), ("big", 1)]
