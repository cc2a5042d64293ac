"""Aristote as the router, alone and beside LiteLLM.

RabbitMQ, PostgreSQL and LiteLLM are real, Aristote's own programs have a stand-in.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import fake_aristote
from tests.e2e.names import CHECKOUT
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Settings,
    Site,
    entry_here,
    free_port,
    run_converged_site,
)

NAME = f"e2e-aristote-{CHECKOUT}"
CODER = "tiny-coder"
PROGRAMS = {"postgres-0", "rabbitmq-0", f"llama-cpp-{CODER}-0", f"llama-cpp-{CODER}-1"} | {
    f"aristote-consumer-{CODER}-0",
    "aristote-sender-0",
}
ADA, BOB = {"name": "ada", "team": "lab"}, {"name": "bob"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    image = {"reference": fake_aristote.build()}
    start = {"start_timeout_seconds": START_TIMEOUT_SECONDS}
    return {
        "name": NAME,
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "models": [{"name": CODER, "replicas": 2}],
        "engine": start,
        "router": {"kind": "aristote", "port": free_port(), **start},
        "postgres": {},
        "web_ui": None,
        "image_source": "build",
        "images": {"aristote-sender": image, "aristote-consumer": image},
        "teams": [{"name": "lab"}],
        "people": [ADA, BOB],
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Site]:
    with run_converged_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        yield site


def ask(site: Site, key: str = MASTER_KEY, path: str = "completions", **more: Any) -> Any:
    """What the router answers: ``httpx.Response``."""
    body = {"model": CODER, "prompt": "def fib(n):", "max_tokens": 40, "temperature": 0} | more
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{site.router_url}/v1/{path}"
    return httpx.post(url, json=body, headers=headers, timeout=120, trust_env=False)


def key_of(site: Site, name: str) -> str:
    text = Path(site.directory, ".secrets", f"{NAME}-keys", f"{name}.env").read_text()
    return text.partition("OPENAI_API_KEY=")[2].split()[0]


def eventually(true: Callable[[], bool], seconds: float = START_TIMEOUT_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def is_served(site: Site) -> bool:
    try:
        return bool(ask(site).status_code == 200)
    except httpx.HTTPError:
        return False


def test_everything_runs_and_a_second_run_changes_nothing(site: Site) -> None:
    before = site.snapshot()
    assert {name.removeprefix(f"{NAME}-") for name in before} == PROGRAMS
    again = site.deploy()
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output
    assert site.snapshot() == before
    assert f"router {CODER} streamed completion: ok" in again.output


def test_what_clients_are_told(site: Site) -> None:
    assert "a, b = b, a + b" in ask(site).json()["choices"][0]["text"]
    streamed = ask(site, stream=True).text
    assert streamed.count("data: ") > 5
    assert streamed.rstrip().endswith("data: [DONE]")
    assert ask(site, key="sk-of-no-one").status_code == 401
    assert ask(site, model="no-such-model").status_code == 404
    # what an engine refuses has status 200, and says so in its body
    refused = ask(site, n_probs="many")
    assert refused.status_code == 200
    assert "error" in refused.json()


def test_people_have_keys(site: Site, settings: Settings) -> None:
    keys = {name: key_of(site, name) for name in ("ada", "bob")}
    assert [ask(site, key).status_code for key in keys.values()] == [200, 200]
    listed = json.loads(site.atelier("users list", "--json").stdout)
    assert {row["name"] for row in listed["people"]} == {"ada", "bob"}
    used = json.loads(site.atelier("usage", "--json").stdout)["usage"]
    [ada] = [row for row in used if row["name"] == "ada"]
    assert (ada["requests"], ada["completion_tokens"] > 10) == (1, True)

    site.write(settings | {"people": [ADA]})
    planned = site.apply()
    assert {("remove", "person bob"), ("revoke", "key of bob")} <= planned.announced
    assert ask(site, keys["bob"]).status_code == 401
    assert ask(site, keys["ada"]).status_code == 200


def test_a_change_of_its_settings(site: Site, settings: Settings) -> None:
    router = settings["router"] | {"aristote": {"max_parallel_requests": 8}}
    site.write(site.settings | {"router": router})
    before = site.snapshot()
    planned = site.apply()
    consumer = f"{NAME}-aristote-consumer-{CODER}-0"
    assert planned.steps == [("recreate", f"container {consumer}")]
    assert {name for name in before if site.snapshot()[name] != before[name]} == {consumer}
    assert is_served(site)


def test_a_sender_that_has_lost_rabbitmq_is_started_anew(site: Site) -> None:
    sender, broker = site.container("aristote-sender"), site.container("rabbitmq")
    assert sender.attrs["RestartCount"] == 0
    broker.restart()
    assert eventually(lambda: site.container("aristote-sender").attrs["RestartCount"] > 0)
    assert eventually(lambda: is_served(site))
    assert b"not ready for 60 s: the sender is started anew" in sender.logs()
    again = site.deploy()
    assert (again.status, again.changes) == (0, []), again.output


@pytest.mark.long
def test_a_move_to_litellm_and_back(site: Site) -> None:
    """Port and master key stay; declared people get other keys, and their old ones come back."""
    of_aristote, settings = key_of(site, "ada"), site.settings
    router = {key: settings["router"][key] for key in ("port", "start_timeout_seconds")}
    site.write(settings | {"router": router | {"kind": "litellm"}})
    planned = site.apply()
    gone = {f"aristote-consumer-{CODER}-0", "aristote-sender-0", "rabbitmq-0"}
    assert {("remove", f"container {NAME}-{name}") for name in gone} <= planned.announced
    of_litellm = key_of(site, "ada")
    assert of_litellm != of_aristote
    assert [ask(site, key).status_code for key in (MASTER_KEY, of_litellm)] == [200, 200]
    assert ask(site, of_aristote).status_code == 401

    # what is in the other database is seen when its router runs: the dry run announces the people
    site.write(settings)
    back, again = site.deploy(), site.deploy()
    assert [back.status, again.status] == [0, 0], back.output + again.output
    assert again.changes == []
    assert [ask(site, key).status_code for key in (MASTER_KEY, of_aristote)] == [200, 200]
    assert ask(site, of_litellm).status_code == 401


def beside_litellm(settings: Settings) -> Settings:
    """The same with LiteLLM, too, and an entry in front of both."""
    start = {"start_timeout_seconds": START_TIMEOUT_SECONDS}
    others = {name: value for name, value in settings.items() if name != "router"}
    routers = [settings["router"], {"port": free_port(), **start}]
    return others | {"routers": routers, "entry": entry_here(**start)}


def at_entry(site: Site, path: str, key: str) -> tuple[int, bool]:
    """The status, and whether it was LiteLLM that answered."""
    root = site.atelier("ca").stdout
    url = f"https://127.0.0.1:{site.settings['entry']['https_port']}/v1/{path}"
    asked = {"model": CODER, "max_tokens": 8} | (
        {"messages": [{"role": "user", "content": "ping"}]}
        if path.startswith("chat")
        else {"prompt": "def fib(n):"}
    )
    headers = {"Authorization": f"Bearer {key}"}
    trusted = ssl.create_default_context(cadata=root)
    reply = httpx.post(
        url, json=asked, headers=headers, timeout=120, trust_env=False, verify=trusted
    )
    return reply.status_code, any(name.startswith("x-litellm") for name in reply.headers)


def ways(site: Site, key: str) -> list[tuple[int, bool]]:
    return [at_entry(site, path, key) for path in ("completions", "chat/completions")]


GOOD = [(200, True), (200, False)]


def test_litellm_that_is_added_takes_completions_with_the_same_keys(
    site: Site, settings: Settings
) -> None:
    added = site.atelier("users add", "eve")
    assert added.returncode == 0, added.stderr
    keys = {name: key_of(site, name) for name in ("ada", "eve")}
    site.write(beside_litellm(settings | {"people": [ADA]}))
    planned, _, again = site.converged_twice()
    for name in keys:
        fields = planned.content["create", f"key of {name} in LiteLLM"]
        assert ("key", "(none)", "Aristote's") in fields
    assert {name: key_of(site, name) for name in keys} == keys
    assert [ways(site, key) for key in (MASTER_KEY, *keys.values())] == [GOOD] * 3
    assert [status for status, _ in ways(site, "sk-of-no-one")] == [401, 401]
    assert f"LiteLLM {CODER} streamed completion: ok" in again.output
    assert f"Aristote {CODER} streamed chat: ok" in again.output


@pytest.mark.long
def test_the_verbs_of_users_act_on_both_routers(site: Site, settings: Settings) -> None:
    site.write(beside_litellm(settings | {"people": [ADA]}))
    assert site.deploy().status == 0
    site.atelier("users remove", "eve", "--yes")
    added = site.atelier("users add", "eve")
    assert added.returncode == 0, added.stderr
    old = key_of(site, "eve")
    assert ways(site, old) == GOOD
    rotated = site.atelier("users rotate", "eve")
    assert rotated.returncode == 0, rotated.stderr
    new = key_of(site, "eve")
    assert new != old
    assert ways(site, new) == GOOD
    assert [status for status, _ in ways(site, old)] == [401, 401]
    site.atelier("users disable", "eve")
    assert [status for status, _ in ways(site, new)] == [401, 401]
    listed = json.loads(site.atelier("users list", "--json").stdout)["people"]
    assert {row["name"]: (row["disabled"], row["missing_in"]) for row in listed} == {
        "ada": (False, []),
        "eve": (True, []),
    }
    used = json.loads(site.atelier("usage", "--json").stdout)["usage"]
    assert "eve" in {row["name"] for row in used}
    gone = site.atelier("users remove", "eve", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert site.deploy().changes == []


@pytest.mark.long
def test_from_litellm_over_both_to_aristote(site: Site, settings: Settings) -> None:
    """LiteLLM cannot say its keys: with Aristote people get new ones, which Aristote keeps.

    What Aristote has of before is older than the key that was made while it was away.
    """
    alone = {key: settings["router"][key] for key in ("port", "start_timeout_seconds")}
    site.write(settings | {"people": [ADA], "router": alone | {"kind": "litellm"}})
    assert site.deploy().status == 0
    rotated = site.atelier("users rotate", "ada")
    assert rotated.returncode == 0, rotated.stderr
    of_litellm = key_of(site, "ada")
    site.write(beside_litellm(settings | {"people": [ADA]}))
    joined, again = site.deploy(), site.deploy()
    assert [joined.status, again.status, again.changes] == [0, 0, []], joined.output
    assert ("replace", "key of ada in LiteLLM") in joined.announced
    key = key_of(site, "ada")
    assert key != of_litellm
    assert ways(site, key) == GOOD
    assert [status for status, _ in ways(site, of_litellm)] == [401, 401]
    site.write(settings | {"people": [ADA]})
    assert site.deploy().status == 0
    assert ask(site, key).status_code == 200


def test_secrets_are_in_no_log_label_or_argument(site: Site) -> None:
    kept = Path(site.directory, ".secrets", f"{NAME}.yaml").read_text()
    secrets = [line.partition(": ")[2].strip("'\"") for line in kept.splitlines()]
    secrets = [text for text in secrets if len(text) > 12] + [MASTER_KEY, key_of(site, "ada")]
    assert len(secrets) > 4
    for name in site.snapshot():
        container = site.client.containers.get(name)
        said = container.logs().decode() + json.dumps(container.attrs["Config"]["Labels"])
        said += json.dumps(container.top()["Processes"])
        assert [text for text in secrets if text in said] == [], name
