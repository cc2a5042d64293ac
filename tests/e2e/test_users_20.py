"""The profile 20-users on one host over SSH, all of it, from the lines of inventories/users_20.py.

The host has no GPU: the chat model is tiny and served by vLLM on two processes of the CPU, with
weights from a hub; llama.cpp serves the model that completes. Everything else is as shipped. What
is asserted is seen on the host, past SSH and past Atelier, or from outside, as its people see it.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from openai import OpenAI

from tests.e2e.hosts import USER, Host, bridge
from tests.e2e.image_store import run_stored_host
from tests.e2e.inventories import shipped
from tests.e2e.names import host_name
from tests.e2e.remote import EVERYWHERE, Containers, containers_of, open_ports
from tests.e2e.secret_watch import Watched, watch
from tests.e2e.site import Result, Settings, Site
from tests.fake_hub import run_hub

CHAT, CODER = "tiny-chat", "tiny-coder"
WEIGHTS = Path(__file__).parent / "tiny_coder"
ENGINE = f"coder-vllm-{CHAT}-0"
ROUTERS = ("coder-litellm-0", "coder-litellm-1")
STACK = {
    *(ENGINE, f"coder-llama-cpp-{CODER}-0", *ROUTERS),
    *("coder-postgres-0", "coder-valkey-0", "coder-open-webui-0", "coder-haproxy-0"),
    "coder-listener-0",
}
SSH, HTTP, HTTPS = 22, 80, 443
PING = {"model": CHAT, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 4}
ADA = {"name": "ada", "team": "research"}
BOB = {"name": "bob", "team": "research", "rpm_limit": 2}
CY = {"name": "cy", "email": "cy@lab.example", "team": "course"}
DAN = {"name": "dan", "email": "dan@lab.example", "team": "research", "rpm_limit": 2}
DATABASES = ("litellm", "open_webui")
TABLE = "name,email,team\n" + "".join(f"p{i},p{i}@lab.example,research\n" for i in range(5, 21))


@dataclass
class Box:
    """The host, what is deployed there, and everything that was printed of it."""

    site: Site
    host: Host
    outputs: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    """By person: everybody who was given one."""

    def declare(self, **changes: Any) -> None:
        self.site.write(self.site.settings | changes)

    def printed(self, result: Result) -> Result:
        self.outputs.append(result.output + json.dumps(result.changes))
        return result

    def apply(self) -> Result:
        """What a dry run announces; the run announces the same, and the one after it nothing."""
        planned, done = self.printed(self.site.dry_run()), self.printed(self.site.deploy())
        assert [planned.status, done.status] == [0, 0], planned.output + done.output
        assert done.steps == planned.steps
        assert done.announcements == planned.announcements
        again = self.printed(self.site.deploy())
        assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output
        self.collect_keys()
        return planned

    def atelier(self, verb: str, *arguments: str) -> str:
        ran = self.site.atelier(verb, *arguments)
        self.outputs.append(ran.stdout + ran.stderr)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran.stdout

    def collect_keys(self) -> None:
        for path in (self.site.directory / ".secrets/coder-keys").glob("*.env"):
            text = path.read_text()
            assert f"OPENAI_BASE_URL={self.url}/v1\n" in text
            self.keys[path.stem] = text.partition("OPENAI_API_KEY=")[2].split()[0]

    def secrets(self) -> dict[str, str]:
        """Those that are generated, a line of each certificate's key, and people's keys."""
        kept: dict[str, Any] = yaml.safe_load(
            (self.site.directory / ".secrets/coder.yaml").read_text()
        )
        pairs = kept.pop("certificates")
        lines = {f"TLS key {n}": pairs[n]["key"].splitlines()[1] for n in pairs}
        return kept | lines | {f"key of {name}": key for name, key in self.keys.items()}

    @property
    def url(self) -> str:
        return f"https://{self.host.address}"

    def client(self) -> httpx.Client:
        """Of somebody who was given the root certificate, and trusts nothing else."""
        context = ssl.create_default_context(cadata=self.atelier("ca"))
        return httpx.Client(base_url=self.url, verify=context, timeout=120, trust_env=False)

    def chat(
        self, client: httpx.Client, person: str, more: dict[str, str] | None = None
    ) -> httpx.Response:
        headers = self.bearer(person) | (more or {})
        return client.post("/v1/chat/completions", json=PING, headers=headers)

    def complete(self, client: httpx.Client, person: str) -> httpx.Response:
        body = {"model": CODER, "prompt": "def fib(n):", "max_tokens": 4}
        return client.post("/v1/completions", json=body, headers=self.bearer(person))

    def bearer(self, person: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[person]}"}

    def containers(self) -> Containers:
        return containers_of(self.host)

    def changed_since(self, before: Containers) -> set[str]:
        """Containers that are not the same, or were started anew."""
        now = self.containers()
        return {name for name in {*before, *now} if before.get(name) != now.get(name)}

    @contextmanager
    def busy(self, person: str) -> Iterator[Counter[int | str]]:
        """While somebody completes code all the time: how often it was answered with what."""
        answers: Counter[int | str] = Counter()
        done = threading.Event()

        def work() -> None:
            with self.client() as client:
                while not done.wait(0.5):
                    try:
                        reply = self.complete(client, person)
                        answers[200 if reply.is_success else reply.text] += 1
                    except httpx.HTTPError as error:
                        answers[repr(error)] += 1

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield answers
        finally:
            done.set()
            worker.join()


class WebUI:
    """People who are logged in there; its administrator has made their logins."""

    def __init__(self, box: Box) -> None:
        self.client = box.client()
        password = box.secrets()["web_ui_admin_password"]
        self.administrator = self._token("signin", "admin@atelier.local", password)
        self.tokens: dict[str, str] = {}

    def _token(self, verb: str, email: str, password: str, **more: str) -> str:
        body = {"email": email, "password": password, **more}
        headers = {"Authorization": f"Bearer {self.administrator}"} if more else {}
        reply = self.client.post(f"/api/v1/auths/{verb}", json=body, headers=headers)
        assert reply.is_success, reply.text
        return str(reply.json()["token"])

    def ask(self, email: str) -> httpx.Response:
        if email not in self.tokens:
            secret = f"of {email}"
            self.tokens[email] = self._token("add", email, secret, name=email, role="user")
        headers = {"Authorization": f"Bearer {self.tokens[email]}"}
        return self.client.post(
            "/api/chat/completions", json=PING | {"stream": False}, headers=headers
        )


def small(settings: Settings, host: Host, hub: str) -> Settings:
    """The same with another host, models that CPUs serve, and people."""
    [declared] = settings["hosts"]
    address = {"address": host.address, "ssh_user": USER, "ssh_key": str(host.key)}
    return settings | {
        "hosts": [{"name": declared["name"], "sudo": declared["sudo"], **address}],
        "models": [
            {
                "name": CHAT,
                "config": str(WEIGHTS / "config.json"),
                "weights": f"lab/{CHAT}",
                "max_num_seqs": 4,
                "roles": ["chat"],
                "engine": {"kind": "vllm", "tensor_parallel_size": 2},
            },
            {"name": CODER, "roles": ["completion"], "engine": {"kind": "llama_cpp"}},
        ],
        "engine": settings["engine"] | {"enforce_eager": True},
        "huggingface_endpoint": hub,
        "image_source": "build",
        "teams": [{"name": "research"}, {"name": "course", "models": [CODER]}],
        "people": [ADA, BOB, CY, DAN],
        "people_file": "people.csv",
    }


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """The stack, after a dry run and the run that it announced."""
    home = tmp_path_factory.mktemp("users-20")
    (home / ".ssh").mkdir()
    with (
        run_stored_host(host_name("users-20"), home) as host,
        run_hub(EVERYWHERE, bridge()) as hub,
    ):
        files = {path.name: path.read_bytes() for path in WEIGHTS.iterdir() if path.is_file()}
        hub.publish(f"lab/{CHAT}", files)
        (home / ".ssh/known_hosts").write_text(host.known_host())
        (home / "people.csv").write_text(TABLE)
        settings = small(shipped("users_20"), host, hub.url)
        box = Box(Site("coder", home, settings, {"HOME": str(home), "COLUMNS": "120"}), host)
        planned, first = box.printed(box.site.dry_run()), box.printed(box.site.deploy())
        assert [planned.status, first.status] == [0, 0], planned.output + first.output
        assert first.announcements == planned.announcements
        box.collect_keys()
        yield box


@pytest.fixture
def person(box: Box) -> Iterator[httpx.Client]:
    with box.client() as client:
        yield client


# from nothing


def test_everything_runs_and_a_second_run_changes_nothing(box: Box) -> None:
    before = box.containers()
    assert {name: state for name, (_, state, _) in before.items()} == dict.fromkeys(
        STACK, "running"
    )
    again = box.printed(box.site.deploy())
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output
    assert box.changed_since(before) == set()
    assert "KV cache 2,097,152 tokens, planned 2,097,152" in again.output


def test_the_model_is_shared_by_two_processes_and_comes_from_the_hub(box: Box) -> None:
    processes = box.host.run(f"docker top {ENGINE} -o pid,args")
    assert "VLLM::Worker_TP0" in processes
    assert "VLLM::Worker_TP1" in processes
    [described] = json.loads(box.host.run(f"docker inspect {ENGINE}"))
    [cache] = [each for each in described["Mounts"] if each["Destination"].endswith("/hub")]
    assert (cache["Type"], cache["RW"]) == ("bind", False)
    snapshots = f"{cache['Source']}/models--lab--{CHAT}/snapshots"
    assert "model.safetensors" in box.host.run(f"ls {snapshots}/*")


def test_twenty_people_have_keys_of_their_own(box: Box) -> None:
    assert len(set(box.keys.values())) == len(box.keys) == 20
    rows = json.loads(box.atelier("users list", "--json"))
    assert {row["name"] for row in rows["people"]} == set(box.keys)
    assert {row["name"]: row["models"] for row in rows["teams"]} == {
        "research": [],
        "course": [CODER],
    }


# what a person sees


def test_the_first_request_of_a_person(box: Box, person: httpx.Client) -> None:
    """OpenAI's own client, with the root certificate and a key of one's own."""
    http: Any = person
    openai = OpenAI(base_url=f"{box.url}/v1", api_key=box.keys["ada"], http_client=http)
    messages: Any = [{"role": "user", "content": "ping"}]
    reply = openai.chat.completions.create(model=CHAT, messages=messages, max_tokens=16)
    assert reply.choices[0].message.content == "pong"
    assert "-tp2-" in str(reply.system_fingerprint)
    stream = openai.chat.completions.create(
        model=CHAT, messages=messages, max_tokens=16, stream=True
    )
    parts = [part.choices[0].delta.content or "" for part in stream if part.choices]
    assert "".join(parts) == "pong"
    assert sum(map(bool, parts)) > 1
    code: Any = {"prompt": "def fib(n):", "max_tokens": 60, "temperature": 0}
    assert "a, b = b, a + b" in openai.completions.create(model=CODER, **code).choices[0].text


def test_a_quota_ends_with_429_and_the_reason(box: Box, person: httpx.Client) -> None:
    # a minute of LiteLLM's may begin in between; Valkey counts for both routers
    replies = [box.chat(person, "bob") for _ in range(5)]
    assert replies[0].status_code == 200
    refused = next(reply for reply in replies if reply.status_code != 200)
    assert refused.status_code == 429
    assert "Limit type: requests. Current limit: 2" in refused.json()["error"]["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert box.chat(person, "ada").status_code == 200


def test_a_group_has_its_own_models_alone(box: Box, person: httpx.Client) -> None:
    refused = box.chat(person, "cy")
    assert refused.status_code == 403
    assert f"'{CHAT}' is not available" in refused.json()["error"]["message"]
    assert box.complete(person, "cy").status_code == 200
    listed = person.get("/v1/models", headers=box.bearer("cy")).json()["data"]
    assert [model["id"] for model in listed] == [CODER]


def test_a_quota_holds_for_key_and_web_ui_together(box: Box, person: httpx.Client) -> None:
    chats = WebUI(box)
    assert box.chat(person, "dan").status_code == 200
    # a minute of LiteLLM's may begin in between
    replies = [chats.ask("Dan@lab.example") for _ in range(4)]
    assert replies[0].json()["choices"][0]["message"]["content"], replies[0].text
    refused = next(reply for reply in replies if reply.status_code != 200)
    assert refused.status_code == 429, refused.text
    assert "Limit type: requests. Current limit: 2" in refused.text
    assert box.chat(person, "dan").status_code == 429
    # the web UI is believed, and no one else
    forged = {"X-OpenWebUI-User-Email": "dan@lab.example"}
    assert box.chat(person, "ada", forged).status_code == 200
    assert box.chat(person, "cy", {"X-OpenWebUI-User-Email": "p5@lab.example"}).status_code == 403
    # a model of another group; and somebody who is no one here
    other = chats.ask("cy@lab.example")
    assert (other.status_code, f"'{CHAT}' is not available" in other.text) == (403, True)
    assert chats.ask("guest@lab.example").status_code == 200


def test_nobody_is_served_without_a_key(box: Box, person: httpx.Client) -> None:
    body = {"model": CHAT, "messages": [{"role": "user", "content": "ping"}]}
    for headers in ({}, {"Authorization": "Bearer sk-of-nobody-0123456789abcdef"}):
        reply = person.post("/v1/chat/completions", json=body, headers=headers)
        assert reply.status_code == 401, reply.text
    # the engine's own pages have no way through the entry
    for path in ("/metrics", "/tokenize", "/version"):
        assert "vllm" not in person.get(path).text.lower()


def test_only_the_entry_can_be_reached_from_outside(box: Box) -> None:
    assert open_ports(box.host.address) == {SSH, HTTP, HTTPS}
    published = box.host.run("docker ps --format '{{.Names}} {{.Ports}}'").splitlines()
    outside = {row.split()[0] for row in published if "0.0.0.0:" in row or ":::" in row}
    assert outside == {"coder-listener-0"}


# what the operator sees


def test_the_operator_is_shown_what_runs(box: Box) -> None:
    rows = json.loads(box.atelier("status", "--json"))["services"]
    assert {row["service"] for row in rows} == STACK
    assert {(row["health"], row["certificate_days"]) for row in rows} == {
        ("healthy", None),
        ("healthy", 395),
    }
    checks = {row["name"]: row for row in json.loads(box.atelier("verify", "--json"))["checks"]}
    assert {f"engine {CHAT}", f"engine {CODER}", "entry", "web UI login and chat"} <= set(checks)
    assert {"router replica 0", "router replica 1", f"router {CHAT} streamed chat"} <= set(checks)
    assert all(row["ok"] and not row["warning"] for row in checks.values()), checks
    findings = json.loads(box.atelier("doctor", "--json"))["findings"]
    assert {row["status"] for row in findings} == {"ok"}, findings
    assert f"{box.url}/v1" in box.atelier("info")


# what changes


def test_entry_store_and_people_change_and_the_engines_stay(box: Box, person: httpx.Client) -> None:
    before, leaver = box.containers(), box.keys.pop("p20")
    (box.site.directory / ".secrets/coder-keys/p20.env").unlink()
    (box.site.directory / "people.csv").write_text(TABLE.replace("p20,p20@lab.example", "zoe,"))
    box.declare(entry={"requests_per_minute": 900}, valkey={"memory_limit": "192MiB"})
    planned = box.apply()
    assert set(planned.steps) - {step for step in planned.steps if "/config/" in step[1]} == {
        ("recreate", "container coder-valkey-0"),
        *(("create", "person zoe"), ("create", "key of zoe")),
        *(("remove", "person p20"), ("revoke", "key of p20")),
    }
    assert box.changed_since(before) == {"coder-valkey-0"}
    assert box.complete(person, "zoe").status_code == 200
    box.keys["p20"] = leaver
    assert box.complete(person, "p20").status_code == 401


@pytest.mark.long
def test_what_is_replaced_is_not_missed(box: Box) -> None:
    """The database and the chat's engine, while somebody completes code."""
    before = box.containers()
    [chat, coder] = box.site.settings["models"]
    box.declare(
        postgres={"memory_limit": "768MiB"},
        models=[chat | {"max_num_seqs": 3}, coder],
    )
    with box.busy("ada") as answers, watch(box.host, box.secrets()) as seen:
        planned = box.apply()
    assert box.changed_since(before) == {"coder-postgres-0", ENGINE}
    assert {resource for action, resource in planned.steps if action == "recreate"} == {
        f"container {name}" for name in box.changed_since(before)
    }
    fields = planned.content["recreate", f"container {ENGINE}"]
    assert fields == [("command", "--max-num-seqs 4", "--max-num-seqs 3")]
    # while the database is away, a router may have to look up a key that it has known for a minute
    unknown = {text for text in answers if "no_db_connection" in str(text)}
    assert set(answers) == {200, *unknown}, answers
    assert answers.total() - answers[200] <= len(ROUTERS)
    assert answers[200] > 50
    is_watched(seen)


def is_watched(seen: Watched) -> None:
    """Nothing was found, and there was something to look at; the entry's key is in one file."""
    keys = re.compile(r"TLS key server in \S+/config/haproxy/current/entry\.pem\.key")
    assert [row for row in seen.found if not keys.fullmatch(row)] == []
    assert min(seen.rounds, seen.processes, seen.files) > 10


@pytest.mark.long
def test_an_engine_that_does_not_start_leaves_the_one_before(
    box: Box, person: httpx.Client
) -> None:
    before, good = box.containers(), box.site.settings["models"]
    [chat, coder] = good
    broken = chat["engine"] | {"extra_args": ["--no-such-flag"]}
    box.declare(models=[chat | {"engine": broken}, coder])
    result = box.printed(box.site.deploy())
    assert result.status == 1
    assert "unrecognized arguments: --no-such-flag" in result.output
    assert f"{ENGINE}: the container before it serves again" in result.output
    assert box.changed_since(before) == {ENGINE}
    assert box.containers()[ENGINE][:2] == before[ENGINE][:2]
    assert box.chat(person, "ada").json()["choices"][0]["message"]["content"] == "pong"
    box.declare(models=good)
    assert box.printed(box.site.dry_run()).changes == []


@pytest.mark.long
def test_a_backup_brings_people_back_on_a_new_disk(box: Box, person: httpx.Client) -> None:
    """With the commands of docs/20-people.md."""
    dump = "docker exec coder-postgres-0 pg_dump -U postgres -Fc"
    for name in DATABASES:
        box.host.run(f"{dump} {name} >/root/{name}.dump")
    writers, old = (*ROUTERS, "coder-open-webui-0"), dict(box.keys)
    box.host.run(f"docker rm --force coder-postgres-0 {' '.join(writers)}")
    box.host.run("docker volume rm coder-postgres")
    first = box.printed(box.site.deploy())
    assert first.status == 0, first.output
    assert ("create", "key of ada") in first.announced
    assert box.complete(person, "ada").status_code == 401
    box.collect_keys()
    box.keys = {f"{name}, void": key for name, key in box.keys.items() if key != old[name]} | old

    box.host.run(f"docker stop {' '.join(writers)}")
    restore = "docker exec -i coder-postgres-0 pg_restore -U postgres -d postgres"
    for name in DATABASES:
        box.host.run(f"{restore} --clean --create --exit-on-error </root/{name}.dump")
    done = box.printed(box.site.deploy())
    assert done.status == 0, done.output
    assert set(done.steps) == {("start", f"container {name}") for name in writers}
    assert box.complete(person, "ada").status_code == 200
    assert box.complete(person, "ada, void").status_code == 401
    assert box.printed(box.site.dry_run()).changes == []


# after all of that


def test_use_is_shown_by_person_team_and_model(box: Box) -> None:
    wanted = {"user": "ada", "team": "research", "model": CODER}
    for by, name in wanted.items():
        assert used(box, by, name)["requests"] > 0
    people = json.loads(box.atelier("usage", "--json"))["usage"]
    by_name = {row["name"]: row for row in people}
    assert by_name["bob"]["failed_requests"] >= 1
    # once with the key and once in the web UI
    assert by_name["dan"]["requests"] - by_name["dan"]["failed_requests"] >= 2
    assert "(master key)" in box.atelier("usage")


def used(box: Box, by: str, name: str) -> dict[str, Any]:
    """LiteLLM writes its figures every minute or so."""
    rows: list[dict[str, Any]] = []
    for _ in range(45):
        rows = json.loads(box.atelier("usage", "--by", by, "--json"))["usage"]
        for row in rows:
            if row["name"] == name and row["completion_tokens"] > 0:
                return row
        time.sleep(2)
    raise AssertionError(f"no use of {name}: {rows}")


def test_secrets_are_nowhere_but_where_they_are_used(box: Box) -> None:
    names = "$(docker ps -aq)"
    places = {
        "output": "".join(box.outputs),
        "labels": box.host.run(f"docker inspect -f '{{{{json .Config.Labels}}}}' {names}"),
        "arguments": box.host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False),
        "logs": box.host.run(f"for each in {names}; do docker logs $each 2>&1; done"),
        "journal": box.host.run("journalctl --no-pager; cat /var/log/*.log", check=False),
    }
    assert min(map(len, places.values())) > 1000
    secrets = box.secrets()
    assert len(secrets) > 30
    found = [
        (name, where) for name in secrets for where in places if secrets[name] in places[where]
    ]
    assert found == []
