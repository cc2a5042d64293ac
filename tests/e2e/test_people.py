"""People with keys of their own: the real LiteLLM with its database, its limits and its API."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyrage
import pytest

from tests.e2e.argument_watch import ArgumentWatch
from tests.e2e.names import NAME, PROJECT
from tests.e2e.site import (
    ATELIER,
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Result,
    Settings,
    Site,
    free_port,
)

DEPLOYMENT = f"{NAME}-people"
MODEL, ALIAS = "tiny-coder", "gpt-4o"
KEY = re.compile(r"OPENAI_API_KEY=(sk-\S+)")
IDENTITY = pyrage.x25519.Identity.generate()
ADA: dict[str, Any] = {
    "name": "ada",
    "email": "ada@lab.example",
    "team": "research",
    "rpm_limit": None,
    "public_key": str(IDENTITY.to_public()),
}
BOB: dict[str, Any] = {
    "name": "bob@lab.example",
    "team": "research",
    "models": [ALIAS],
    "rpm_limit": 2,
}
RESEARCH: dict[str, Any] = {"name": "research"}
Deploy = Callable[[], Result]


@dataclass
class People(Site):
    """The deployment, and everything that was printed of it."""

    printed: list[str] = field(default_factory=list)
    processes: ArgumentWatch = field(default_factory=ArgumentWatch)
    """Their arguments, while it was deployed or a verb ran."""
    keys: set[str] = field(default_factory=set)
    """Every key that somebody was given."""

    def declare(self, *people: dict[str, Any], **more: Any) -> None:
        self.write({**self.settings, "people": list(people), **more})

    def run(self, *flags: str) -> Result:
        with self.processes.watching():
            result = super().run(*flags)
        self.printed.append(result.output + json.dumps(result.changes))
        return result

    def users(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._atelier("users", verb, str(self.inventory), *arguments)

    def usage(self, *arguments: str) -> str:
        result = self._atelier("usage", str(self.inventory), *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def _atelier(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.processes.watching():
            result = subprocess.run(
                [*ATELIER, *arguments],
                cwd=self.directory,
                env=self.env() | {"COLUMNS": "200"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
            )
        self.printed.append(result.stdout + result.stderr)
        return result

    def key_file(self, name: str) -> Path:
        return self.directory / ".secrets" / f"{DEPLOYMENT}-keys" / name

    def key(self, person: str) -> str:
        """The key in a person's file, opened as that person does."""
        sealed = self.key_file(f"{person}.env.age")
        if sealed.exists():
            assert b"sk-" not in sealed.read_bytes()
            text = pyrage.decrypt(sealed.read_bytes(), [IDENTITY]).decode()
        else:
            text = self.key_file(f"{person}.env").read_text()
        found = KEY.search(text)
        assert found, text
        assert f"OPENAI_BASE_URL={self.router_url}/v1" in text
        self.keys.add(found[1])
        return found[1]

    def ask(self, key: str, model: str = MODEL) -> httpx.Response:
        return httpx.post(
            f"{self.router_url}/v1/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": model, "prompt": "def fib(n):", "max_tokens": 4},
            timeout=START_TIMEOUT_SECONDS,
        )

    def chat(self, key: str, model: str) -> httpx.Response:
        return httpx.post(
            f"{self.router_url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": model, "messages": [{"role": "user", "content": "ping"}]},
            timeout=START_TIMEOUT_SECONDS,
        )

    def by_hand(self, path: str, body: dict[str, Any] | None = None, **asked: Any) -> Any:
        """What somebody does in the router's own UI."""
        reply = httpx.request(
            "POST" if body else "GET",
            f"{self.router_url}{path}",
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            json=body,
            params=asked,
            timeout=60,
        )
        assert reply.is_success, reply.text
        return reply.json()

    def hash_of(self, alias: str) -> str:
        [token] = self.by_hand("/key/list", key_alias=alias)["keys"]
        return str(token)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A deployment with a team of two, whose dry run, first and second run were as announced."""
    settings: Settings = {
        "name": DEPLOYMENT,
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "models": [{"name": MODEL}],
        "engine": {"start_timeout_seconds": START_TIMEOUT_SECONDS},
        "router": {
            "port": free_port(),
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
            "aliases": {ALIAS: MODEL},
            # a token costs 0.001
            "prices": {MODEL: {"input": 1000, "output": 1000}},
        },
        "postgres": {},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
        "limits": {"rpm_limit": 1000, "max_parallel_requests": 4},
        "teams": [RESEARCH],
        "people": [ADA, BOB],
    }
    environment = {"E2E_MASTER_KEY": MASTER_KEY}
    site = People(DEPLOYMENT, tmp_path_factory.mktemp("site"), settings, environment)
    try:
        yield site
    finally:
        site.remove()


def test_the_first_deployment_announces_the_people_it_makes(site: People) -> None:
    planned = site.apply()
    assert {
        ("create", "team research"),
        ("create", "person ada"),
        ("create", "person bob@lab.example"),
        ("create", "key of ada"),
        ("create", "key of bob@lab.example"),
    } < planned.announced
    assert ("rpm_limit", "(none)", "2") in planned.content["create", "key of bob@lab.example"]


def test_a_key_reaches_its_person_sealed_or_in_a_file_of_the_operator_alone(site: People) -> None:
    files = sorted(path.name for path in site.key_file(".").iterdir())
    assert files == [".gitignore", "ada.env.age", "bob@lab.example.env"]
    assert stat.S_IMODE(site.key_file("ada.env.age").stat().st_mode) == 0o600
    assert stat.S_IMODE(site.key_file("bob@lab.example.env").stat().st_mode) == 0o600
    assert stat.S_IMODE(site.key_file(".").stat().st_mode) == 0o700
    assert site.key("ada") != site.key("bob@lab.example")


def test_the_first_request_with_a_key_of_ones_own(site: People) -> None:
    reply = site.ask(site.key("ada"))
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["text"]


def test_an_alias_is_answered_and_what_is_not_allowed_is_refused(site: People) -> None:
    bob = site.key("bob@lab.example")
    assert site.ask(bob, ALIAS).status_code == 200
    refused = site.ask(bob)
    assert refused.status_code == 403
    assert "not available for this API key" in refused.text


def test_nobody_is_served_without_a_key(site: People) -> None:
    assert site.ask("sk-of-nobody-0123456789abcdef").status_code == 401
    for path in ("/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/messages"):
        method = "GET" if path.endswith("models") else "POST"
        reply = httpx.request(method, f"{site.router_url}{path}", timeout=60)
        assert reply.status_code == 401, (path, reply.text)


def test_requests_per_minute_end_with_429_and_the_reason(site: People) -> None:
    bob = site.key("bob@lab.example")
    # a minute of LiteLLM's may begin in between
    replies = [site.ask(bob, ALIAS) for _ in range(5)]
    refused = [reply for reply in replies if reply.status_code != 200]
    assert refused, [reply.status_code for reply in replies]
    assert refused[0].status_code == 429
    assert "Limit type: requests. Current limit: 2" in refused[0].text
    for reply in (refused[0], site.chat(bob, ALIAS)):
        assert reply.status_code == 429
        assert 0 < int(reply.headers["retry-after"]) <= 60


def test_a_client_can_read_its_limits(site: People) -> None:
    headers = site.ask(site.key("ada")).headers
    assert headers["x-ratelimit-api_key-limit-max_parallel_requests"] == "4"
    assert float(headers["x-litellm-key-spend"]) > 0


def test_budgets_and_tokens_end_with_429_and_the_reason(site: People) -> None:
    site.declare(
        {**ADA, "max_budget": 0.001, "budget_duration": "1d"},
        {**BOB, "rpm_limit": None, "tpm_limit": 5},
    )
    planned = site.apply()
    assert planned.content["update", "key of ada"] == [
        ("max_budget", "(none)", "0.001"),
        ("budget_duration", "(none)", "1d"),
    ]
    over = site.ask(site.key("ada"))
    assert over.status_code == 429, over.text
    assert "Budget has been exceeded" in over.text
    replies = [site.ask(site.key("bob@lab.example"), ALIAS) for _ in range(3)]
    refused = [reply for reply in replies if reply.status_code != 200]
    assert refused[0].status_code == 429
    assert "Limit type: tokens. Current limit: 5" in refused[0].text


def test_the_budget_of_a_team_ends_for_all_of_it(site: People) -> None:
    limited = {**RESEARCH, "max_budget": 0.001}
    site.declare(ADA, {**BOB, "rpm_limit": None}, teams=[limited])
    assert site.apply().announced == {
        ("update", "team research"),
        ("update", "key of ada"),
        ("update", "key of bob@lab.example"),
    }
    over = site.ask(site.key("ada"))
    assert over.status_code == 429, over.text
    assert "research" in over.text
    site.declare(ADA, BOB, teams=[RESEARCH])
    assert site.deploy().status == 0


def test_a_disabled_key_is_refused_and_kept(site: People) -> None:
    key = site.key("ada")
    site.declare({**ADA, "disabled": True}, BOB)
    assert site.apply().content == {("update", "key of ada"): [("disabled", "no", "yes")]}
    assert site.ask(key).status_code == 401
    site.declare(ADA, BOB)
    assert site.apply().announced == {("update", "key of ada")}
    assert site.ask(key).status_code == 200


def test_an_expiry_is_kept_and_a_key_that_has_ended_goes(site: People) -> None:
    key = site.key("ada")
    site.declare({**ADA, "expires": "2099-12-31"}, BOB)
    assert site.apply().content == {("update", "key of ada"): [("expires", "(none)", "2099-12-31")]}
    assert site.ask(key).status_code == 200
    site.declare({**ADA, "expires": "2020-01-31"}, BOB)
    ended = site.apply()
    assert ended.announced == {("revoke", "key of ada")}
    assert "ada: the key ended after 2020-01-31" in ended.output
    assert site.ask(key).status_code == 401
    site.declare(ADA, BOB)
    assert site.apply().announced == {("create", "key of ada")}
    assert site.key("ada") != key
    assert site.ask(site.key("ada")).status_code == 200


def test_a_key_that_ends_while_it_is_used_is_refused(site: People) -> None:
    """LiteLLM's own clock ends it; this one was made by hand, and is left alone."""
    site.by_hand("/key/generate", {"key": "sk-by-hand-0123456789abcdef", "duration": "1s"})
    time.sleep(1.5)
    refused = site.ask("sk-by-hand-0123456789abcdef")
    assert refused.status_code == 401
    assert "Expired Key" in refused.text
    unchanged = site.dry_run()
    assert unchanged.changes == []
    assert "made by hand in the router are left alone" in unchanged.output


def test_what_was_changed_by_hand_is_shown_and_put_right(site: People) -> None:
    ada, bob = site.key("ada"), site.key("bob@lab.example")
    site.by_hand("/key/update", {"key": site.hash_of("bob@lab.example"), "rpm_limit": 5000})
    site.by_hand("/team/update", {"team_id": "research", "max_budget": 1000})
    site.by_hand("/key/delete", {"key_aliases": ["ada"]})
    planned = site.apply()
    assert planned.content["update", "key of bob@lab.example"] == [
        ("rpm_limit", "5000 (changed by hand)", "2")
    ]
    assert planned.content["update", "team research"] == [
        ("max_budget", "1000 (changed by hand)", "(none)")
    ]
    assert ("create", "key of ada") in planned.announced
    assert site.ask(ada).status_code == 401
    assert site.ask(site.key("ada")).status_code == 200
    assert site.key("bob@lab.example") == bob


def test_a_declared_person_is_changed_in_the_inventory_alone(site: People) -> None:
    for verb in (["disable"], ["enable"], ["remove", "--yes"], ["add"]):
        refused = site.users(verb[0], "ada", *verb[1:])
        assert refused.returncode == 1
        assert "declared in the inventory" in refused.stderr
        assert "change it there" in refused.stderr
    assert site.dry_run().changes == []


def test_a_rotated_key_replaces_the_old_one_and_is_no_drift(site: People) -> None:
    old = site.key("ada")
    spent = _person(site, "ada")["spend"]
    done = site.users("rotate", "ada")
    assert done.returncode == 0, done.stderr
    assert site.key("ada") != old
    assert site.ask(old).status_code == 401
    assert site.ask(site.key("ada")).status_code == 200
    assert _person(site, "ada")["spend"] >= spent
    assert site.dry_run().changes == []


def test_people_are_added_disabled_and_removed_on_the_command_line(site: People) -> None:
    added = site.users("add", "cy", "--team", "research", "--rpm-limit", "100")
    assert added.returncode == 0, added.stderr
    assert str(site.key_file("cy.env")) in added.stdout
    key = site.key("cy")
    assert site.ask(key).status_code == 200
    assert site.users("add", "cy").returncode == 1
    assert site.users("disable", "cy").returncode == 0
    assert site.ask(key).status_code == 401
    assert site.users("enable", "cy").returncode == 0
    assert site.ask(key).status_code == 200
    row = _person(site, "cy")
    assert row["limits"] == {"rpm_limit": 100, "max_parallel_requests": 4}
    assert (row["team"], row["kept_by"]) == ("research", "atelier users")
    assert site.dry_run().changes == []
    assert site.users("remove", "cy", "--yes").returncode == 0
    assert site.ask(key).status_code == 401


def test_a_file_of_people_is_added(site: People) -> None:
    file = site.directory / "people.csv"
    file.write_text("name,team,models,rpm_limit\ndee,research,gpt-4o,5\neli,,,\n")
    added = site.users("add", "--file", str(file))
    assert added.returncode == 0, added.stderr
    assert site.ask(site.key("dee"), ALIAS).status_code == 200
    listed = site.users("list").stdout
    assert "dee" in listed
    assert "eli" in listed
    wrong = site.users("add", "--file", str(site.directory / "none.csv"))
    assert "cannot read" in wrong.stderr
    for name in ("dee", "eli"):
        assert site.users("remove", name, "--yes").returncode == 0


def test_use_is_shown_by_person_team_and_model(site: People) -> None:
    answered = _wait_for_usage(site, "user", "ada")
    assert answered["requests"] > answered["failed_requests"]
    assert answered["completion_tokens"] > 0
    assert answered["spend"] > 0
    assert _wait_for_usage(site, "team", "research")["requests"] >= answered["requests"]
    assert _wait_for_usage(site, "model", MODEL)["prompt_tokens"] > 0
    rows = list(csv.DictReader(io.StringIO(site.usage("--csv", "--since", "2w"))))
    assert "ada" in {row["name"] for row in rows}
    assert "prompt tokens" in site.usage("--by", "team")


def test_who_is_no_longer_declared_loses_their_key(site: People) -> None:
    ada, bob = site.key("ada"), site.key("bob@lab.example")
    site.declare(ADA)
    assert site.apply().announced == {
        ("remove", "person bob@lab.example"),
        ("revoke", "key of bob@lab.example"),
    }
    assert site.ask(bob, ALIAS).status_code == 401
    assert site.ask(ada).status_code == 200


def test_a_person_moves_to_another_team(site: People) -> None:
    site.declare({**ADA, "team": "teaching"}, teams=[{"name": "teaching"}])
    assert site.apply().announced == {
        ("create", "team teaching"),
        ("update", "person ada"),
        ("update", "key of ada"),
        ("remove", "team research"),
    }
    assert site.ask(site.key("ada")).status_code == 200


def test_keys_are_in_no_output_label_or_argument(site: People) -> None:
    assert len(site.keys) >= 2
    containers = site.client.containers.list(filters={"label": "io.atelier.deployment"})
    labels = [json.dumps(container.attrs) for container in containers]
    logs = [container.logs().decode("utf-8", "replace") for container in containers]
    arguments = site.processes.seen.decode("utf-8", "replace")
    assert "router_api" in arguments or "LITELLM_MASTER_KEY" in arguments
    for key in site.keys:
        for text in (*site.printed, *labels, *logs, arguments):
            assert key not in text
    for text in (*site.printed, arguments):
        assert MASTER_KEY not in text
    assert not [path for path in PROJECT.rglob("*.env.age") if ".cache" not in path.parts]


def test_the_database_keeps_neither_keys_nor_prompts(site: People) -> None:
    dump = site.container("postgres").exec_run(["pg_dump", "-U", "postgres", "litellm"])
    assert isinstance(dump.output, bytes)
    text = dump.output.decode("utf-8", "replace")
    assert dump.exit_code == 0, text[-500:]
    assert "ada@lab.example" in text
    assert "def fib" not in text
    assert not [key for key in site.keys if key in text]


def _person(site: People, name: str) -> dict[str, Any]:
    shown = site.users("show", name, "--json")
    assert shown.returncode == 0, shown.stderr
    row: dict[str, Any] = json.loads(shown.stdout)
    return row


def _wait_for_usage(site: People, by: str, name: str) -> dict[str, Any]:
    """LiteLLM writes its figures every minute or so."""
    for _ in range(60):
        rows = json.loads(site.usage("--by", by, "--json"))["usage"]
        for row in rows:
            if row["name"] == name and row["completion_tokens"]:
                found: dict[str, Any] = row
                return found
        time.sleep(2)
    raise AssertionError(f"no use of {name}: {rows}")
