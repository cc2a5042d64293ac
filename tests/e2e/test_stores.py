"""PostgreSQL and Valkey behind two routers and a web UI: keys, limits, changes, outages."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import yaml
from docker.models.containers import Container

from tests.e2e.argument_watch import ArgumentWatch
from tests.e2e.load import Load, steady_load
from tests.e2e.names import CHECKOUT
from tests.e2e.privacy import look_for_leaks, searched
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Settings,
    Site,
    kill,
    settings_here,
    with_entry,
)

NAME = f"e2e-stores-{CHECKOUT}"
MODEL = "tiny-coder"
LIMITED_SECONDS = 50
"""Safely within the minute that requests are counted in."""
PING = {"model": MODEL, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 4}
AT_ONCE_SECONDS = 20
AWAY_SECONDS = 10
OUTAGE_SECONDS = 120
"""How long a router may take to find its database again."""


def run(container: Container, command: list[str]) -> str:
    """What a command prints in a container."""
    status, output = container.exec_run(command)
    assert isinstance(output, bytes)
    assert status == 0, output.decode()
    return output.decode()


@dataclass(frozen=True)
class Deployed:
    site: Site
    printed: str
    """What the first deployment printed, with every kind of output switched on."""
    arguments: bytes
    """Of every process on this machine meanwhile."""

    def router(self, index: int) -> str:
        """Address of a router's replica, past the published port."""
        container = self.site.client.containers.get(f"{NAME}-litellm-{index}")
        networks = container.attrs["NetworkSettings"]["Networks"]
        return f"http://{networks[NAME]['IPAddress']}:4000"

    def ask(self, index: int, path: str, body: Any, key: str = MASTER_KEY) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.router(index)}{path}"
        return httpx.post(url, headers=headers, json=body, timeout=START_TIMEOUT_SECONDS)

    def new_key(self, index: int = 0, **settings: Any) -> str:
        reply = self.ask(index, "/key/generate", settings)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["key"])

    def chat(self, index: int, key: str) -> int:
        return self.ask(index, "/v1/chat/completions", PING, key).status_code

    def sql(self, database: str, statement: str) -> str:
        command = ["psql", "-U", "postgres", "-d", database, "-Atc", statement]
        return run(self.site.container("postgres"), command).strip()

    def secrets(self) -> dict[str, str]:
        text = (self.site.directory / f".secrets/{NAME}.yaml").read_text()
        kept = dict(yaml.safe_load(text))
        # tests/e2e/test_entry.py looks for those
        del kept["certificates"]
        return kept | {"router_master_key": MASTER_KEY}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = with_entry(settings_here(NAME, tmp_path_factory.mktemp("host")))
    router = settings["router"] | {"replicas": 2}
    return settings | {"router": router, "postgres": {"memory_limit": "512MiB"}, "valkey": {}}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Deployed]:
    environment = {"E2E_MASTER_KEY": MASTER_KEY}
    site = Site(NAME, tmp_path_factory.mktemp("site"), settings, environment)
    watch = ArgumentWatch()
    try:
        with watch.watching():
            result = site.run("-y", "-vvv")
        assert result.status == 0, result.output
        assert watch.rounds > 50
        yield Deployed(site, result.output, watch.seen)
    finally:
        site.remove()


def eventually(true: Callable[[], bool], seconds: float = OUTAGE_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def test_a_second_run_changes_nothing(deployed: Deployed) -> None:
    before = deployed.site.snapshot()
    again = deployed.site.deploy()
    assert (again.status, again.succeeded) == (0, 0), again.output
    assert deployed.site.snapshot() == before
    assert "router replica 1: ok" in again.output


def test_stores_are_confined_and_published_nowhere(deployed: Deployed) -> None:
    for service in ("postgres", "valkey"):
        attributes = deployed.site.container(service).attrs
        limits = attributes["HostConfig"]
        assert not limits["PortBindings"]
        assert limits["ReadonlyRootfs"] is True
        assert limits["CapDrop"] == ["ALL"]
        assert limits["Memory"] > 0
        assert attributes["Config"]["User"] == "999:999"
    other = deployed.site.client.containers.get(f"{NAME}-litellm-1")
    assert not other.attrs["HostConfig"]["PortBindings"]


def test_each_service_has_a_database_of_its_own(deployed: Deployed) -> None:
    applied = "SELECT count(*) FROM _prisma_migrations WHERE finished_at IS NOT NULL"
    assert int(deployed.sql("litellm", applied)) > 200
    # by one of the two alone
    twice = "SELECT count(*) - count(DISTINCT migration_name) FROM _prisma_migrations"
    assert deployed.sql("litellm", twice) == "0"
    assert deployed.sql("open_webui", 'SELECT count(*) FROM "user"') == "1"
    assert "webui.db" not in files_of_web_ui(deployed)
    for role, foreign in (("litellm", "open_webui"), ("open_webui", "litellm")):
        may = f"SELECT has_database_privilege('{role}', '{foreign}', 'CONNECT')"
        assert deployed.sql("postgres", may) == "f"
    assert deployed.sql("postgres", "SELECT count(*) FROM pg_roles WHERE rolsuper") == "1"


def files_of_web_ui(deployed: Deployed) -> str:
    return run_in_web_ui(deployed, "ls -a /app/backend/data")


def run_in_web_ui(deployed: Deployed, command: str) -> str:
    return run(deployed.site.container("open-webui"), ["sh", "-c", command])


def asked_six_times(deployed: Deployed) -> list[int]:
    """Answers to a key for three requests a minute, of both routers in turn."""
    while True:
        key, began = deployed.new_key(rpm_limit=3, models=[MODEL]), time.monotonic()
        answers = [deployed.chat(index % 2, key) for index in range(6)]
        # on a busy machine the first may not be of the same minute any more
        if time.monotonic() - began < LIMITED_SECONDS:
            return answers


TOGETHER, EACH_ALONE = [200] * 3 + [429] * 3, [200] * 6
"""How routers count."""


def test_a_key_counts_on_both_routers(deployed: Deployed) -> None:
    assert asked_six_times(deployed) == TOGETHER
    assert deployed.chat(1, "sk-no-such-key") == 401


def told_of_changes(deployed: Deployed) -> int:
    """How many routers Valkey tells which keys have changed."""
    ask = "REDISCLI_AUTH=$VALKEY_PASSWORD valkey-cli pubsub numsub "
    command = ["sh", "-c", f"{ask} litellm_proxy.auth_cache_invalidation"]
    return int(run(deployed.site.container("valkey"), command).split()[-1])


def test_a_key_that_is_taken_away_is_refused_by_both_routers(deployed: Deployed) -> None:
    """At once, and not when the other router looks it up again, after a minute."""
    assert eventually(lambda: told_of_changes(deployed) == 2)
    users(deployed, "add", "ada")
    for verb, *more in (("rotate",), ("remove", "--yes")):
        key = key_of_ada(deployed)
        assert [deployed.chat(index, key) for index in (0, 1)] == [200, 200]
        users(deployed, verb, "ada", *more)
        assert eventually(partial(is_refused, deployed, key), AT_ONCE_SECONDS), verb


def users(deployed: Deployed, verb: str, *arguments: str) -> None:
    done = deployed.site.atelier(f"users {verb}", *arguments)
    assert done.returncode == 0, done.stderr


def key_of_ada(deployed: Deployed) -> str:
    file = deployed.site.directory / f".secrets/{NAME}-keys/ada.env"
    return file.read_text().split("OPENAI_API_KEY=")[1].strip()


def is_refused(deployed: Deployed, key: str) -> bool:
    return [deployed.chat(index, key) for index in (0, 1)] == [401, 401]


@pytest.mark.long
def test_routers_that_start_again_at_once_keep_keys(deployed: Deployed) -> None:
    key = deployed.new_key()
    routers = [deployed.site.client.containers.get(f"{NAME}-litellm-{i}") for i in (0, 1)]
    for router in routers:
        router.kill()
    for router in routers:
        router.start()
    for index in (0, 1):
        assert eventually(partial(is_ready, deployed, index)), index
        assert deployed.chat(index, key) == 200


def is_ready(deployed: Deployed, index: int) -> bool:
    try:
        reply = httpx.get(f"{deployed.router(index)}/health/readiness", timeout=10)
    except httpx.HTTPError:
        return False
    return reply.status_code == 200 and reply.json()["db"] == "connected"


def test_a_database_that_is_away_for_a_while(deployed: Deployed) -> None:
    known, unknown = deployed.new_key(), deployed.new_key()
    assert deployed.chat(0, known) == 200
    store = deployed.site.container("postgres")
    store.stop()
    try:
        # what it has seen lately it still knows; of what it cannot look up it says so
        assert deployed.chat(0, known) == 200
        assert deployed.chat(0, MASTER_KEY) == 200
        refused = deployed.ask(0, "/v1/chat/completions", PING, unknown)
        assert refused.status_code == 503, refused.text
        assert httpx.get(f"{deployed.router(0)}/health/liveliness").status_code == 200
        dry = deployed.site.dry_run()
        assert ("start", f"container {NAME}-postgres-0") in dry.announced, dry.output
    finally:
        store.start()
    assert eventually(lambda: deployed.chat(0, unknown) == 200)
    assert eventually(lambda: is_ready(deployed, 1))
    assert deployed.chat(1, deployed.new_key(1)) == 200


@pytest.mark.long
def test_valkey_is_away_for_a_while(deployed: Deployed) -> None:
    """All are answered; each router counts alone, and learns late which keys were taken away."""
    store, answers = deployed.site.container("valkey"), []
    before = restarts(store)
    kill(store)
    assert eventually(lambda: restarts(store) == before + 1)
    known, unknown, taken = (deployed.new_key() for _ in range(3))
    for key in (known, taken):
        assert [deployed.chat(index, key) for index in (0, 1)] == [200, 200]
    store.stop()
    try:
        assert deployed.ask(0, "/key/block", {"key": taken}).status_code == 200
        assert [deployed.chat(index, taken) for index in (0, 1)] == [401, 200]
        until = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < until:
            answers += [deployed.chat(i, key) for key in (known, MASTER_KEY) for i in (0, 1)]
        answers += [deployed.chat(index, unknown) for index in (0, 1)]
        assert asked_six_times(deployed) == EACH_ALONE
        assert ask_web_ui(deployed) == [200, 200]
    finally:
        store.start()
    assert set(answers) == {200}
    assert eventually(lambda: asked_six_times(deployed) == TOGETHER)
    assert eventually(lambda: told_of_changes(deployed) == 2)
    assert eventually(partial(is_refused, deployed, taken))


def restarts(of: Container) -> int:
    """How often Docker has started a container again by itself."""
    of.reload()
    return int(of.attrs["RestartCount"])


def ask_web_ui(deployed: Deployed) -> list[int]:
    """What it answers to somebody who logs in and asks something."""
    web_ui = deployed.site.container("open-webui")
    address = web_ui.attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"]
    password = deployed.secrets()["web_ui_admin_password"]
    with httpx.Client(base_url=f"http://{address}:8080", timeout=START_TIMEOUT_SECONDS) as http:
        who = {"email": "admin@atelier.local", "password": password}
        login = http.post("/api/v1/auths/signin", json=who)
        headers = {"Authorization": f"Bearer {login.json().get('token')}"}
        reply = http.post("/api/chat/completions", headers=headers, json=PING)
    return [login.status_code, reply.status_code]


@pytest.mark.long
def test_a_web_ui_that_dies_comes_back_and_programs_notice_nothing(deployed: Deployed) -> None:
    site, web_ui = deployed.site, deployed.site.container("open-webui")
    trusted = ssl.create_default_context(cadata=site.atelier("ca").stdout)
    url = f"https://127.0.0.1:{site.settings['entry']['https_port']}"
    load, before = Load(url, MASTER_KEY, MODEL, verify=trusted), restarts(web_ui)

    def seen() -> int:
        return httpx.get(url, verify=trusted, timeout=60, trust_env=False).status_code

    assert seen() == 200
    with steady_load(load, clients=2) as wait_for:
        wait_for(4)
        kill(web_ui)
        assert seen() == 503
        assert eventually(lambda: seen() == 200)
        wait_for(4)
    assert load.failures == []
    assert load.answered > 8
    # the same people as before, in the database
    assert ask_web_ui(deployed) == [200, 200]
    assert restarts(web_ui) == before + 1


@pytest.fixture
def refused(deployed: Deployed, settings: Settings) -> Iterator[Callable[..., str]]:
    """What a deployment with other settings is refused with; nothing is touched."""
    before = deployed.site.snapshot()

    def run(**changes: Any) -> str:
        deployed.site.write(settings | changes)
        result = deployed.site.deploy()
        assert result.status == 1, result.output
        assert result.changes == []
        assert deployed.site.snapshot() == before
        return " ".join(re.sub(r"\[@local\]", "", result.output).split())

    yield run
    deployed.site.write(settings)


# what is left of what people ask


def test_nothing_of_what_people_ask_is_kept(deployed: Deployed) -> None:
    answer = look_for_leaks(deployed.site)
    places = searched(answer)
    names = (*("postgres-0", "valkey-0", "litellm-0", "litellm-1"), "open-webui-0", "haproxy-0")
    assert {f"{kind} {NAME}-{name}" for kind in ("log", "files") for name in names} <= set(places)
    # what the web UI keeps by design is seen, so that the search is not blind
    kept = places[f"database {NAME}-postgres-0, open_webui"]["kept_by_design"]
    assert [row["request"] for row in kept] == ["a chat that somebody keeps, web UI"]
    ended = {row["request"]: row["ended"] for row in answer["asked"]}
    assert ended["a temporary chat, web UI"] == "200"
    assert [*ended.values()].count("200") > 20
    assert [*ended.values()].count("400") > 10
    # looked for in another way: as rows of the router hold it, and as Docker shows logs
    rows = """SELECT count(*) FROM "LiteLLM_SpendLogs" t WHERE t::text LIKE '%atelierprivacy%'"""
    assert deployed.sql("litellm", rows) == "0"
    # the chat that was kept is gone
    assert deployed.sql("open_webui", "SELECT count(*) FROM chat") == "0"
    for index in (0, 1):
        log = deployed.site.client.containers.get(f"{NAME}-litellm-{index}").logs()
        assert b"atelierprivacy" not in log
        assert b"without its text" in log


def test_what_is_kept_is_found(deployed: Deployed) -> None:
    """A database that logs what is written into it, and a key in a file."""
    reload = "SELECT pg_reload_conf()"
    deployed.sql("postgres", "ALTER SYSTEM SET log_statement = 'all'")
    deployed.sql("postgres", reload)
    # as if it were written while requests are sent
    leak = "/app/backend/data/leak"
    run_in_web_ui(deployed, f"echo {MASTER_KEY} >{leak}; touch -d '+10 minutes' {leak}")
    try:
        found = look_for_leaks(deployed.site, status=1)
    finally:
        deployed.sql("postgres", "ALTER SYSTEM RESET log_statement")
        deployed.sql("postgres", reload)
        run_in_web_ui(deployed, f"rm {leak}")
    wrong = {place: row for place, row in searched(found).items() if not row["ok"]}
    assert set(wrong) == {f"log {NAME}-postgres-0", f"files {NAME}-open-webui-0"}
    log, files = wrong[f"log {NAME}-postgres-0"], wrong[f"files {NAME}-open-webui-0"]
    assert {row["what"] for row in log["found"]} == {"prompt"}
    assert "log_statement" in log["remedy"]
    assert files["found"] == [{"what": "router_master_key", "request": ""}]
    assert files["where"] == [leak]


def test_another_major_version_is_refused(refused: Callable[..., str]) -> None:
    newer = {"postgres": {"reference": "docker.io/library/postgres:18.4-trixie"}}
    said = refused(images=newer)
    assert f"volume {NAME}-postgres: PostgreSQL 17 wrote it, and 18 does not read that" in said
    assert f"docker exec {NAME}-postgres-0 pg_dumpall -U postgres" in said


def test_users_in_sqlite_are_not_left_behind(
    deployed: Deployed, settings: Settings, refused: Callable[..., str]
) -> None:
    run_in_web_ui(deployed, "echo SQLite >/app/backend/data/webui.db")
    try:
        said = refused()
        assert f"volume {NAME}-open-webui: users and chats are in SQLite there" in said
        deployed.site.write(settings | {"postgres": {"memory_limit": "512MiB", "web_ui": False}})
        kept = deployed.site.dry_run()
        assert ("recreate", f"container {NAME}-open-webui-0") in kept.announced, kept.output
    finally:
        run_in_web_ui(deployed, "rm /app/backend/data/webui.db")


def test_another_salt_is_refused(
    deployed: Deployed, settings: Settings, refused: Callable[..., str]
) -> None:
    deployed.site.environment["OTHER_SALT"] = "sk-another-salt-0123456789"
    own = settings["secrets"] | {"router_salt_key": {"env": "OTHER_SALT"}}
    said = refused(secrets=own)
    assert "secrets.router_salt_key: another value than that of the last deployment" in said


def test_a_wrong_address_of_a_database_is_refused(
    deployed: Deployed, refused: Callable[..., str]
) -> None:
    deployed.site.environment["DATABASE"] = "mysql://name:a-hidden-password@db/litellm"
    said = refused(postgres={"router_database_url": {"env": "DATABASE"}})
    assert "postgres.router_database_url: it starts with mysql://" in said
    assert "a-hidden-password" not in said


@pytest.mark.long
def test_stores_change(deployed: Deployed, settings: Settings) -> None:
    """Another password, another limit, a store that goes: as announced, and keys stay."""
    key = deployed.new_key()
    deployed.site.environment["NEW_PASSWORD"] = "another-password-0123456789"
    changed = settings | {
        "postgres": {"memory_limit": "640MiB"},
        "secrets": settings["secrets"] | {"router_database_password": {"env": "NEW_PASSWORD"}},
    }
    del changed["valkey"]
    deployed.site.write(changed)
    planned = deployed.site.apply()
    assert planned.announced >= {
        ("recreate", f"container {NAME}-postgres-0"),
        ("recreate", f"container {NAME}-litellm-0"),
        ("recreate", f"container {NAME}-litellm-1"),
        ("remove", f"container {NAME}-valkey-0"),
    }
    assert ("recreate", f"container {NAME}-open-webui-0") not in planned.announced
    assert {"memory_bytes", "secret_env.DATABASE_URL"} <= planned.fields
    assert deployed.chat(0, key) == deployed.chat(1, key) == 200
    limit = deployed.site.container("postgres").attrs["HostConfig"]["Memory"]
    assert limit == 640 * 1024**2


def test_no_secret_shows(deployed: Deployed) -> None:
    """After all of the above: printed, in arguments, labels, logs or files that all may read."""
    containers = deployed.site.client.containers.list(
        all=True, filters={"label": f"io.atelier.deployment={NAME}"}
    )
    labels = json.dumps([container.labels for container in containers])
    logs = b"".join(container.logs() for container in containers)
    secrets = deployed.secrets()
    # the one that another was replaced by, where that test ran
    if new := deployed.site.environment.get("NEW_PASSWORD"):
        secrets["new"] = new
    assert {"router_database_password", "valkey_password", "router_salt_key"} <= set(secrets)
    for name, value in secrets.items():
        assert value not in deployed.printed, f"{name} was printed"
        assert value.encode() not in deployed.arguments, f"{name} was an argument"
        assert value not in labels, f"{name} is in a label"
        assert value.encode() not in logs, f"{name} is in a log"
