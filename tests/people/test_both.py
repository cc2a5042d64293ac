"""People of two routers: Aristote's program and LiteLLM's API, by the script on their host."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import PeopleError, ServiceError
from deploy.live.people import People
from deploy.live.privacy import execs
from deploy.live.router import Router
from deploy.live.sender import Sender
from deploy.people.both import Found, lacking, merge
from deploy.people.new_keys import Handover, NewKeys
from deploy.people.records import wanted
from deploy.people.requests import KEY_OF, Request
from deploy.people.share import Shared, share
from deploy.people.summary import all_rows
from deploy.people.usage import Usage, of_all
from deploy.plan.people_plan import PeoplePlan, PersonPlan, TeamPlan
from deploy.scripts import read_script
from deploy.spec import PersonSpec
from deploy.spec.router import RouterKind
from tests.conftest import MakeArtefacts
from tests.fake_litellm import FakeLiteLLM, NotAllowedError
from tests.people.aristote_container import Container
from tests.people.conftest import InContainer

TODAY = date(2026, 11, 29)
NOW, LATER = "2026-11-29T10:00:00+00:00", "2099-11-29T10:00:00+00:00"
ADA = PersonPlan(name="ada", email="ada@lab.example", team="physics", rpm_limit=60)
BOB = PersonPlan(name="bob", max_budget=2.5, expires=date(2099, 1, 31))
NAMES: dict[RouterKind, str] = {"aristote": "demo-aristote-sender-0", "litellm": "demo-litellm-0"}
BY_HAND = "made-by-hand"
SCRIPTS: dict[RouterKind, str] = {"aristote": "aristote_people.py", "litellm": "router_api.py"}
# what people.sh asks of Docker: whether a container runs, and a program in one
DOCKER = """#!{python}
import json, os, sys
from pathlib import Path

here = Path(__file__).parent
with (here / "log").open("a") as log:
    log.write("\\n".join(sys.argv) + "\\n")
if sys.argv[1] == "container":
    sys.exit(print((here / sys.argv[-1]).with_suffix(".state").read_text()))
name, python, *program = sys.argv[3:]
environment = json.loads((here / f"{{name}}.json").read_text())
os.execve(sys.executable, [sys.executable, *program], environment)
"""


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


TEAMS = (TeamPlan(name="physics", tpm_limit=5000),)


@dataclass
class Both:
    """A host with both routers."""

    container: Container
    router: InContainer
    fake: FakeLiteLLM
    engine: Path
    kinds: tuple[RouterKind, ...] = ("aristote", "litellm")
    """Which of them the deployment has."""
    teams: tuple[TeamPlan, ...] = TEAMS
    said: list[str] = field(default_factory=list)

    def found(self) -> Found:
        looks = {"aristote": self.container.look, "litellm": self.router.look}
        return {kind: looks[kind]() for kind in self.kinds}

    def share(self, *people: PersonPlan) -> Shared:
        plan = PeoplePlan(teams=self.teams, people=people)
        return share(wanted(plan, TODAY), self.found(), "demo", TODAY)

    def announced(self, *people: PersonPlan) -> dict[str, dict[str, tuple[str, str]]]:
        """What is to change: by action and resource, each field's old and new value."""
        shared = self.share(*people)
        changes = [
            change.announced(kind) for kind, own in shared.routers.items() for change in own.all
        ]
        return {
            f"{each.action} {each.resource}": {f.field: (f.old, f.new) for f in each.fields}
            for each in changes
        }

    def send(self, kind: RouterKind, requests: list[Request]) -> None:
        body = json.dumps([{"path": each.path, "body": dict(each.body)} for each in requests])
        copies = any(KEY_OF in each.body for each in requests)
        source = ("--", read_script(SCRIPTS["aristote"]), NAMES["aristote"]) if copies else ()
        arguments = (read_script(SCRIPTS[kind]), self.port, NAMES[kind], *source)
        done = self.sh("copy" if copies else "apply", *arguments, line=body)
        assert done.returncode == 0, done.stderr

    @property
    def port(self) -> str:
        return str(self.fake.port)

    def sh(self, *arguments: str, line: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["sh", "-c", read_script("people.sh"), "atelier", *arguments],
            input=line + "\n",
            env={"PATH": f"{self.engine.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.said += [done.stdout, done.stderr, *arguments]
        return done

    def deploy(self, *people: PersonPlan) -> dict[str, str]:
        """Make it so; after that nothing changes. Returns the new keys."""
        keys = self.run(*people)
        assert not self.share(*people).changes_something
        return keys

    def run(self, *people: PersonPlan, steps: int | None = None, made: str = NOW) -> dict[str, str]:
        """So many steps of what a run does."""
        shared = self.share(*people)
        keys = dict(NewKeys.of(shared.new_keys, people).values)
        for kind, requests in shared.steps("demo", keys, made)[:steps]:
            self.send(kind, requests)
        return keys

    def key_in_litellm(self, name: str) -> dict[str, Any]:
        [row] = [row for row in self.fake.keys.values() if row["key_alias"] == name]
        return row

    def require_one_key(self, name: str) -> str:
        """The key of somebody, which both routers know."""
        token = str(self.container.users()[name][0])
        assert self.key_in_litellm(name)["token"] == sha(token.removeprefix("blocked "))
        return token

    def seen(self) -> str:
        """All that the host could have seen of it: arguments, output."""
        return "\n".join([*self.said, (self.engine.parent / "log").read_text()])


@pytest.fixture
def both(
    container: Container, router: InContainer, fake: FakeLiteLLM, tmp_path: Path
) -> Iterator[Both]:
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(DOCKER.format(python=sys.executable))
    engine.chmod(0o755)
    (engine.parent / "log").touch()
    litellm = {"LITELLM_MASTER_KEY": "sk-master", "PATH": os.environ["PATH"]}
    environments: dict[RouterKind, dict[str, str]] = {
        "aristote": container.environment,
        "litellm": litellm,
    }
    for kind, environment in environments.items():
        (engine.parent / f"{NAMES[kind]}.json").write_text(json.dumps(environment))
        (engine.parent / f"{NAMES[kind]}.state").write_text("running")
    both = Both(container, router, fake, engine)
    yield both
    tokens = {str(row[0]) for row in container.users().values()} - {"sk-master"}
    assert not [token for token in tokens if token.removeprefix("blocked ") in both.seen()]


def test_both_get_the_same_new_key(both: Both) -> None:
    keys = both.deploy(ADA, BOB)
    assert sorted(keys) == ["ada", "bob"]
    assert [both.require_one_key(name) for name in keys] == list(keys.values())


def test_limits_are_those_of_litellm(both: Both) -> None:
    both.deploy(ADA, BOB)
    ada, bob = both.key_in_litellm("ada"), both.key_in_litellm("bob")
    assert (ada["rpm_limit"], bob["max_budget"]) == (60, 2.5)
    assert both.fake.teams["physics"]["tpm_limit"] == 5000
    for record in both.container.look().records:
        limits = {name: record.fields.get(name) for name in ("rpm_limit", "max_budget", "expires")}
        assert set(limits.values()) == {None}, record


def test_a_litellm_that_is_added_gets_the_keys_of_aristote(both: Both) -> None:
    both.kinds = ("aristote",)
    keys = both.deploy(ADA, BOB)
    both.kinds = ("aristote", "litellm")
    announced = both.announced(ADA, BOB)
    assert announced["create key of ada in litellm"]["key"] == ("(none)", "Aristote's")
    assert not any(each.endswith("in aristote") for each in announced)
    assert both.deploy(ADA, BOB) == {}
    assert {name: both.require_one_key(name) for name in keys} == keys
    assert both.key_in_litellm("ada")["rpm_limit"] == 60


def test_an_aristote_that_is_added_means_new_keys(both: Both) -> None:
    both.kinds = ("litellm",)
    before = both.deploy(ADA, BOB)
    both.key_in_litellm("ada")["spend"] = 3.5
    both.kinds = ("aristote", "litellm")
    announced = both.announced(ADA, BOB)
    assert announced["replace key of ada in litellm"] == {"key": ("another one", "a new one")}
    assert "create key of ada in aristote" in announced
    keys = both.deploy(ADA, BOB)
    assert {name: both.require_one_key(name) for name in keys} == keys
    assert keys["ada"] != before["ada"]
    assert both.key_in_litellm("ada")["spend"] == 3.5
    assert sha(before["ada"]) not in both.fake.keys


def test_back_to_one_of_them_keeps_the_keys(both: Both) -> None:
    keys = both.deploy(ADA)
    for kind in both.kinds:
        both.kinds = (kind,)
        assert both.deploy(ADA.model_copy(update={"rpm_limit": None})) == {}
    both.kinds = ("aristote", "litellm")
    assert both.require_one_key("ada") == keys["ada"]


def test_a_run_that_ends_between_the_two_is_mended_with_the_same_keys(both: Both) -> None:
    keys = both.run(ADA, BOB, steps=1)
    assert "ada" in both.container.users()
    assert not both.router.look().find("key", "ada")
    assert both.deploy(ADA, BOB) == {}
    assert {name: both.require_one_key(name) for name in keys} == keys


def test_who_is_no_longer_declared_goes_from_both(both: Both) -> None:
    keys = both.deploy(ADA, BOB)
    assert both.deploy(ADA) == {}
    assert "bob" not in both.container.users()
    assert sha(keys["bob"]) not in both.fake.keys
    assert both.require_one_key("ada") == keys["ada"]


def test_a_key_of_aristote_that_litellm_would_not_take(both: Both) -> None:
    both.kinds = ("aristote",)
    both.deploy(BOB)
    both.container.execute("UPDATE users SET token = 'made-by-hand' WHERE name = 'bob'")
    both.container.execute("UPDATE atelier_people SET id = ? WHERE kind = 'key'", sha(BY_HAND))
    body = [{"path": "/key/generate", "body": {KEY_OF: sha(BY_HAND)}}]
    scripts = [read_script(SCRIPTS[kind]) for kind in ("litellm", "aristote")]
    done = both.sh(
        *("copy", scripts[0], both.port, NAMES["litellm"], "--", scripts[1], NAMES["aristote"]),
        line=json.dumps(body),
    )
    assert done.returncode != 0
    assert "the token of bob does not begin with sk-, as LiteLLM wants" in done.stderr
    assert not [path for path, _ in both.fake.asked if path == "/key/generate"]
    # so its person gets another one, and the dry run says so
    both.kinds = ("aristote", "litellm")
    announced = both.announced(BOB)
    assert announced["replace key of bob in aristote"]["key"] == ("another one", "a new one")
    assert announced["create key of bob in litellm"]["key"] == ("(none)", "a new one")
    keys = both.deploy(BOB)
    assert both.require_one_key("bob") == keys["bob"]


@pytest.mark.parametrize("kind", ["aristote", "litellm"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_team_that_was_removed_while_a_router_was_away(
    both: Both, people: People, kind: RouterKind, moved: bool
) -> None:
    """Its keys go from the router that comes back; who has one at the other one keeps one."""
    both.deploy()
    people.add([PersonSpec(name="eve", team="physics"), PersonSpec(name="bob", team="physics")])
    both.deploy()
    both.kinds, both.teams = (kind,), ()
    alone = People(people.artefacts, {kind: people.routers[kind]}, people.handover)
    if moved:
        # by hand, out of the team
        key = alone.found()[kind].find("key", "eve")
        assert key
        fields = {"key": key.id, "team_id": None}
        alone.routers[kind].send([Request("/key/update", fields)])
    both.deploy()
    if not moved:
        alone.add([PersonSpec(name="eve")])
    both.kinds = ("aristote", "litellm")
    both.deploy()
    token = both.require_one_key("eve")
    assert not token.startswith("blocked ")
    assert not merge(both.found()).find("key", "bob")
    for live in both.found().values():
        assert not live.find("team", "physics")
        person = live.find("person", "eve")
        assert person
        assert person.fields["teams"] == ()


@pytest.mark.parametrize("kind", ["aristote", "litellm"])
def test_a_router_that_does_not_run(both: Both, kind: RouterKind) -> None:
    (both.engine.parent / f"{NAMES[kind]}.state").write_text("exited")
    scripts = [read_script(SCRIPTS[each]) for each in ("litellm", "aristote")]
    done = both.sh(
        *("copy", scripts[0], both.port, NAMES["litellm"], "--", scripts[1], NAMES["aristote"]),
        line="[]",
    )
    assert done.returncode == 1
    assert f"no router runs: {NAMES[kind]}" in done.stderr


def test_a_key_that_was_made_while_aristote_was_away_is_the_good_one(both: Both) -> None:
    """What Aristote still has is old: its person may have told somebody, or forgotten it."""
    old = both.deploy(ADA)["ada"]
    both.kinds = ("litellm",)
    both.fake.keys.pop(sha(old))
    both.run(ADA, made=LATER)
    both.kinds = ("aristote", "litellm")
    keys = both.deploy(ADA)
    assert both.require_one_key("ada") == keys["ada"] != old


def test_a_key_that_was_made_while_litellm_was_away_is_the_good_one(both: Both) -> None:
    old = both.deploy(ADA)["ada"]
    both.kinds = ("aristote",)
    both.container.execute("DELETE FROM users WHERE name = ?", "ada")
    new = both.run(ADA.model_copy(update={"rpm_limit": None}), made=LATER)["ada"]
    both.kinds = ("aristote", "litellm")
    assert both.deploy(ADA) == {}
    assert both.require_one_key("ada") == new != old


def test_keys_of_before_that_differ_make_way_for_a_new_one(both: Both) -> None:
    """Older releases did not write down when a key was made."""
    for kind in ("aristote", "litellm"):
        both.kinds = (kind,)
        both.run(BOB.model_copy(update={"max_budget": None, "expires": None}), made="")
    both.kinds = ("aristote", "litellm")
    keys = both.deploy(BOB)
    assert both.require_one_key("bob") == keys["bob"]


STATES = ("none", "key", "other key", "disabled")


@pytest.fixture
def people(
    both: Both, make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> People:
    """What ``atelier users`` works with."""

    def stream(_: Any, __: str, command: list[str], said: str = "") -> Iterator[bytes]:
        done = both.container.run(command[3], said)
        yield (done.stdout + done.stderr).encode()

    monkeypatch.setattr(execs, "stream", stream)
    connection: Any = type("Connection", (), {"client": None})()
    artefacts = make(routers=[{"kind": "aristote"}, {"port": 4001}], postgres={})
    routers: dict[RouterKind, Router | Sender] = {
        "aristote": Sender(connection, NAMES["aristote"]),
        "litellm": Router(both.fake.url, both.fake.key),
    }
    return People(artefacts, routers, Handover(tmp_path / "keys", "demo", "http://here"))


def handed_over(people: People, name: str) -> str:
    text = (people.handover.directory / f"{name}.env").read_text()
    return text.partition("OPENAI_API_KEY=")[2].split()[0]


@pytest.mark.parametrize("noted", [True, False])
def test_every_state_of_somebody_whom_the_command_added_is_mended(
    both: Both, people: People, noted: bool
) -> None:
    """Who lacks a key at one router was removed there, if it is noted that both had it."""
    pairs = [pair for pair in product(STATES, STATES) if pair != ("none", "none")]
    names = {f"p{number}": pair for number, pair in enumerate(pairs)}
    people.add([PersonSpec(name=name) for name in names])
    keys = {name: handed_over(people, name) for name in names}
    for name, states in names.items():
        for kind, state in zip(both.kinds, states, strict=True):
            _bring_about(both, kind, name, keys[name], state)
    if not noted:
        both.container.execute(
            """UPDATE atelier_people SET fields = replace(fields, '"shared"', '"x"')"""
        )
        for row in both.fake.keys.values():
            row["metadata"].get("atelier", {}).pop("shared", None)
    both.deploy()
    for name, (there, here) in names.items():
        if noted and "none" in {there, here}:
            assert not merge(both.found()).find("key", name)
            assert not merge(both.found()).find("person", name)
            continue
        token = both.require_one_key(name)
        assert token.startswith("blocked ") == ("disabled" in {there, here}), (there, here)
        if there in {"key", "disabled"}:
            # what Aristote has in clear, nobody has to be told anew
            assert token.removeprefix("blocked ") == keys[name]


def _bring_about(both: Both, kind: RouterKind, name: str, key: str, state: str) -> None:
    if kind == "litellm":
        row = both.fake.keys[sha(key)]
        if state in {"none", "other key"}:
            del both.fake.keys[sha(key)]
        if state == "other key":
            both.fake.keys[sha(f"{key}-l")] = {**row, "token": sha(f"{key}-l")}
        row["blocked"] = state == "disabled"
        return
    if state == "none":
        both.container.execute("DELETE FROM users WHERE name = ?", name)
    elif state == "other key":
        other = f"sk-a-{key}"
        both.container.execute("UPDATE users SET token = ? WHERE name = ?", other, name)
        ids = (sha(other), sha(key))
        both.container.execute("UPDATE atelier_people SET id = ? WHERE id = ?", *ids)
    elif state == "disabled":
        body = {"key": sha(key), "blocked": True}
        done = both.container.run("apply", json.dumps([{"path": "/key/update", "body": body}]))
        assert done.returncode == 0


def test_the_verbs_of_users_act_on_both(both: Both, people: People) -> None:
    both.deploy()
    people.add([PersonSpec(name="eve", team="physics", rpm_limit=9)])
    first = both.require_one_key("eve")
    assert (handed_over(people, "eve"), both.key_in_litellm("eve")["rpm_limit"]) == (first, 9)
    people.rotate("eve")
    second = both.require_one_key("eve")
    assert second != first
    assert (handed_over(people, "eve"), both.key_in_litellm("eve")["rpm_limit"]) == (second, 9)
    assert people.disable("eve", disabled=True) == ()
    assert both.require_one_key("eve") == f"blocked {second}"
    assert both.key_in_litellm("eve")["blocked"]
    people.disable("eve", disabled=False)
    assert both.require_one_key("eve") == second
    both.deploy()
    people.remove("eve")
    assert "eve" not in both.container.users()
    assert [each for each in both.fake.users if each == "eve"] == []
    assert not merge(people.found()).find("key", "eve")


def test_who_has_a_key_at_one_of_them_is_not_added_again(both: Both, people: People) -> None:
    people.add([PersonSpec(name="eve")])
    alone = People(people.artefacts, {"aristote": people.routers["aristote"]}, people.handover)
    alone.add([PersonSpec(name="ida")])
    with pytest.raises(PeopleError, match="ida: has a key already"):
        people.add([PersonSpec(name="ida")])
    missing = {row["name"]: row["missing_in"] for row in all_rows(people.found())}
    assert (missing["eve"], missing["ida"]) == ([], ["LiteLLM"])
    assert people.disable("ida", disabled=True) == ("LiteLLM",)
    people.disable("ida", disabled=False)
    both.deploy()
    assert not any(row["missing_in"] for row in all_rows(people.found()))


def test_somebody_called_as_a_team_is(both: Both, people: People) -> None:
    both.deploy()
    people.add([PersonSpec(name="physics")])
    both.key_in_litellm("physics")["metadata"]["atelier"].pop("shared")
    assert both.deploy() == {}
    assert both.require_one_key("physics") == handed_over(people, "physics")


def test_which_of_two_keys_is_missing(both: Both) -> None:
    """An older one of Aristote's is not what its person has."""
    both.deploy(ADA)
    row = both.key_in_litellm("ada")
    other = {**row, "token": sha("sk-x")}
    both.fake.keys = {other["token"]: other}
    other["metadata"] = {"atelier": {**row["metadata"]["atelier"], "made": LATER}}
    assert lacking(both.found(), "ada") == ("aristote",)
    other["metadata"]["atelier"]["made"] = "2020-01-01T00:00:00+00:00"
    assert lacking(both.found(), "ada") == ("litellm",)


def test_a_hand_made_key_of_one_router_is_missing_nowhere(people: People) -> None:
    [row] = [row for row in all_rows(people.found()) if row["name"] == "by-hand"]
    assert (row["kept_by"], row["missing_in"]) == ("no one", [])


@pytest.mark.parametrize("verb", ["add", "rotate"])
def test_what_litellm_refuses_is_told_and_mended_by_a_deployment(
    both: Both, people: People, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "rotate":
        people.add([PersonSpec(name="eve")])

    def refused(_: Any) -> Any:
        raise NotAllowedError(500, "no")

    with monkeypatch.context() as patched:
        patched.setattr(both.fake, "_key_generate", refused)
        with pytest.raises(ServiceError) as told:
            people.rotate("eve") if verb == "rotate" else people.add([PersonSpec(name="eve")])
    said = told.value.problems[-1]
    assert said.found == "Aristote has the change, LiteLLM has not"
    assert said.fix == "deploy: what is missing is made, with the same key"
    assert both.deploy() == {}
    assert both.require_one_key("eve") == handed_over(people, "eve")


def test_keys_are_handed_over_where_aristote_dies_last(
    both: Both, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise ServiceError

    with monkeypatch.context() as patched:
        patched.setattr(People, "_note", gone)
        assert people.add([PersonSpec(name="eve")]) == [people.handover.path("eve", None)]
    assert "update key of eve in aristote" in both.announced()
    both.deploy()
    assert both.require_one_key("eve") == handed_over(people, "eve")


@pytest.mark.parametrize("kind", ["aristote", "litellm"])
def test_who_was_removed_while_a_router_was_away_does_not_come_back(
    both: Both, people: People, kind: RouterKind
) -> None:
    people.add([PersonSpec(name="eve")])
    alone = People(people.artefacts, {kind: people.routers[kind]}, people.handover)
    alone.remove("eve")
    both.deploy()
    assert "eve" not in both.container.users()
    assert not merge(both.found()).find("person", "eve")
    assert not merge(both.found()).find("key", "eve")


def test_a_run_that_ends_anywhere_takes_nobody_away(both: Both, people: People) -> None:
    alone = People(people.artefacts, {"aristote": people.routers["aristote"]}, people.handover)
    alone.add([PersonSpec(name="eve")])
    for steps in (0, 1, 2):
        both.run(steps=steps)
        assert both.container.users()["eve"][0] == handed_over(people, "eve")
    both.deploy()
    assert both.require_one_key("eve") == handed_over(people, "eve")


def test_a_replacement_that_stopped_leaves_no_key_of_before(both: Both) -> None:
    """A run was stopped when LiteLLM had the new key already; then both got yet another one."""
    before = both.deploy(ADA)["ada"]
    row = both.key_in_litellm("ada")
    row["key_alias"] = "ada until 12345678"
    both.fake.keys[sha("sk-next")] = {**row, "key_alias": "ada", "token": sha("sk-next")}
    assert both.deploy(ADA) == {}
    assert both.require_one_key("ada") == before
    assert [row["key_alias"] for row in both.fake.keys.values() if row["key_alias"]] == ["ada"]


def test_a_key_that_has_ended_is_refused_by_aristote_too(both: Both, people: People) -> None:
    people.add([PersonSpec(name="eve", expires=date(2099, 1, 31))])
    both.deploy()
    assert not both.require_one_key("eve").startswith("blocked ")
    both.key_in_litellm("eve")["expires"] = "2026-11-01T00:00:00+00:00"
    both.deploy()
    assert both.require_one_key("eve").startswith("blocked ")


def test_use_of_both_is_added_up() -> None:
    aristote = [Usage("ada", requests=2, prompt_tokens=10), Usage("bob", requests=1)]
    litellm = [Usage("ada", requests=3, prompt_tokens=5, completion_tokens=1, spend=0.5)]
    assert of_all([aristote, litellm]) == [
        Usage("ada", requests=5, prompt_tokens=15, completion_tokens=1, spend=0.5),
        Usage("bob", requests=1),
    ]
