"""The profile 100-users on two hosts over SSH, from the lines of inventories/users_100.py.

One has the entry, two routers, two web UIs, their stores and an engine, the other an engine behind
a link. Hosts have no GPU: llama.cpp serves a tiny model. People log in with the accounts of their
site: the provider is Canaille, the directory OpenLDAP's slapd, and they have browsers.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from playwright.sync_api import Browser

from tests.e2e.hosts import USER, Host, run_host
from tests.e2e.image_store import VOLUME, run_stored_host
from tests.e2e.inventories import shipped
from tests.e2e.load import ASK_ENTRY_FOR_WEB_UIS, Load, router_states, steady_load
from tests.e2e.names import host_name
from tests.e2e.provider import PEOPLE, READER, Login, Provider, group_dn, run_provider
from tests.e2e.remote import Containers, containers_of, open_ports
from tests.e2e.site import MASTER_KEY, Result, Settings, Site, free_port
from tests.e2e.test_entry import trusting
from tests.e2e.visitors import (
    ARTIFACTS,
    WAIT_MS,
    Visitor,
    chat,
    chromium_beside,
    run_browser,
    visitor,
)

MODEL = "tiny-coder"
PING = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "ping"}],
    "stream": False,
    "max_tokens": 4,
}
LABEL = "Example Lab"
CLIENT_SECRET, BIND_PASSWORD = "client-secret-of-e2e-0123", "bind-password-of-e2e-4567"
GIVEN = {"AI_CLIENT_SECRET": CLIENT_SECRET, "E2E_LDAP": BIND_PASSWORD}
# a comma in the name of a group, as directories have them
CHAT, ADMINS = "chat, all", "ai-admins"
ADA = Login("ada", "Ada Lovelace", "of-ada-0123456789", (CHAT,))
GRACE = Login("grace", "Grace Hopper", "of-grace-0123456789", (CHAT, ADMINS))
EVE = Login("eve", "Eve Stranger", "of-eve-0123456789", ("guests",))
NOBODY = Login("nobody", "Nobody Ungrouped", "of-nobody-0123456789")
WEB_UIS = ("coder-open-webui-0", "coder-open-webui-1")
ROUTERS = ("coder-litellm-0", "coder-litellm-1")
ENGINES = ("coder-llama-cpp-tiny-coder-0", "coder-llama-cpp-tiny-coder-1")
STACK = {
    "gpu1": {
        *(*WEB_UIS, *ROUTERS, ENGINES[0], "coder-link-client-0"),
        *("coder-listener-0", "coder-haproxy-0", "coder-postgres-0", "coder-valkey-0"),
        "coder-listener-client-0",
    },
    "gpu2": {ENGINES[1], "coder-listener-server-gpu2-0", "coder-link-server-gpu2-0"},
}
STORED = ("litellm", "open-webui", "postgres")
"""Large images that are kept from one run of the tests to the next."""
SSH, HTTP, HTTPS, LINK = 22, 80, 443, 8443
ENOUGH = int(os.environ.get("E2E_REQUESTS", "500"))
"""Requests that are answered while everything is replaced."""
ANSWERED = "document.body.innerText.includes('a, b = b, a + b')"
"""Whether a page shows the answer."""
PAUSE_SECONDS = 0.5
"""Other tests want the processors, too."""


@dataclass
class Lab:
    """Both hosts, what is deployed there, and everything that was printed of it."""

    site: Site
    hosts: dict[str, Host]
    provider: Provider
    printed: str = ""

    @property
    def url(self) -> str:
        return f"https://{self.hosts['gpu1'].address}"

    def noted(self, result: Result) -> Result:
        self.printed += result.output + json.dumps(result.changes)
        return result

    def with_directory(self, **of_provider: Any) -> Settings:
        """Everybody of the provider, and one group of the directory."""
        directory = {
            "url": self.provider.directory_url,
            "search_base": PEOPLE,
            "bind_dn": READER,
            "bind_password": {"env": "E2E_LDAP"},
            "allowed_groups": [group_dn(CHAT)],
            "ca_file": str(self.provider.authority),
        }
        web_ui = self.site.settings["web_ui"]
        oidc = web_ui["oidc"] | {"allowed_groups": []} | of_provider
        return self.site.settings | {"web_ui": web_ui | {"oidc": oidc, "ldap": directory}}

    def containers(self) -> Containers:
        return {
            name: row for host in self.hosts.values() for name, row in containers_of(host).items()
        }

    def sql(self, database: str, statement: str) -> str:
        command = f"docker exec -i coder-postgres-0 psql -U postgres -d {database} -At"
        return self.hosts["gpu1"].run(command, stdin=statement).strip()

    def role(self, person: Login) -> str:
        """What somebody's account may do; empty without one."""
        chosen = f"SELECT role FROM public.user WHERE email = '{person.email}'"  # noqa: S608
        return self.sql("open_webui", chosen)

    def secrets(self) -> dict[str, str]:
        """Those that are generated, those that are given, and a line of each key."""
        kept = dict(yaml.safe_load((self.site.directory / ".secrets/coder.yaml").read_text()))
        pairs = kept.pop("certificates") | kept["links"].pop("pairs") | kept.pop("links")
        keys = {f"key of {name}": pair["key"].splitlines()[1] for name, pair in pairs.items()}
        return kept | keys | {"oidc": CLIENT_SECRET, "ldap": BIND_PASSWORD, "master": MASTER_KEY}

    @contextmanager
    def api(self, token: str = "") -> Iterator[httpx.Client]:
        """The web UI's API through the entry, whose certificate is believed for what it is."""
        options: Any = {"verify": trusting(self.site.atelier("ca").stdout), "trust_env": False}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=self.url, headers=headers, timeout=180, **options) as client:
            yield client


def small(declared: Settings, hosts: dict[str, Host], provider: Provider) -> Settings:
    """The same on other hosts, with an engine of CPUs, and people of a made-up site."""
    oidc = {
        "issuer": provider.issuer,
        "client_id": "lab-chat",
        "label": LABEL,
        "scopes": ["openid", "email", "profile", "groups"],
        "allowed_groups": [CHAT],
        "admin_groups": [ADMINS],
        "ca_file": str(provider.authority),
    }
    web_ui = declared["web_ui"] | {"drain_seconds": 3, "memory_limit": "1GiB"}
    return declared | {
        "hosts": [
            {
                "name": each["name"],
                "sudo": each["sudo"],
                "address": hosts[each["name"]].address,
                "ssh_user": USER,
                "ssh_key": str(hosts[each["name"]].key),
            }
            for each in declared["hosts"]
        ],
        "models": [{"name": MODEL, "replicas": 2}],
        "engine": {"kind": "llama_cpp"},
        "router": declared["router"] | {"memory_limit": "1GiB"},
        "postgres": {"memory_limit": "512MiB"},
        "entry": {"requests_per_minute": 60_000},
        "web_ui": web_ui | {"oidc": declared["web_ui"]["oidc"] | oidc},
        "people": [{"name": "ada", "email": ADA.email}],
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
        "image_source": "build",
    }


def client_of(url: str) -> dict[str, object]:
    """The web UI, as it is registered at the provider."""
    return {
        "client_id": "lab-chat",
        "client_secret": CLIENT_SECRET,
        "client_name": "Lab AI",
        "client_uri": url,
        "redirect_uris": [f"{url}/oauth/oidc/callback"],
        "post_logout_redirect_uris": [f"{url}/auth"],
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "scope": ["openid", "email", "profile", "groups"],
    }


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The stack, after a dry run and the run that it announced."""
    home = tmp_path_factory.mktemp("users-100")
    for name in (*STACK, ".ssh", "provider"):
        (home / name).mkdir()
    with ExitStack() as stack:
        one = run_stored_host(
            host_name("gpu1"), home / "gpu1", volume=f"{VOLUME}-100", images=STORED
        )
        other = run_host(host_name("gpu2"), home / "gpu2", with_docker=True)
        hosts = {"gpu1": stack.enter_context(one), "gpu2": stack.enter_context(other)}
        known = "".join(host.known_host() for host in hosts.values())
        (home / ".ssh/known_hosts").write_text(known)
        client = client_of(f"https://{hosts['gpu1'].address}")
        people = (ADA, GRACE, EVE, NOBODY)
        name = host_name("provider")
        running = run_provider(name, home / "provider", people, client, BIND_PASSWORD)
        provider = stack.enter_context(running)
        settings = small(shipped("users_100"), hosts, provider)
        environment = GIVEN | {"HOME": str(home), "E2E_MASTER_KEY": MASTER_KEY}
        lab = Lab(Site("coder", home, settings, environment), hosts, provider)
        planned, first = lab.noted(lab.site.dry_run()), lab.noted(lab.site.run("-y", "-vvv"))
        assert [planned.status, first.status] == [0, 0], planned.output + first.output
        assert first.announcements == planned.announcements
        yield lab


@pytest.fixture(scope="module")
def browser(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One that believes the entry and the provider, each for what its authority says it is."""
    address = lab.hosts["gpu1"].address
    context = trusting(lab.site.atelier("ca").stdout)
    with (
        socket.create_connection((address, HTTPS)) as way,
        context.wrap_socket(way, server_hostname=address) as secure,
    ):
        entry = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    place = tmp_path_factory.mktemp("browser")
    program = chromium_beside(f"{lab.provider.name}-oidc", place)
    with run_browser(entry, lab.provider.certificate, program=program) as opened:
        yield opened


@pytest.fixture(scope="module")
def ada(browser: Browser, lab: Lab) -> Iterator[Visitor]:
    """Somebody of an allowed group, who has logged in once and for all tests."""
    with visitor(browser, lab.url, "ada") as here:
        here.log_in(ADA, LABEL)
        here.wait_until_in()
        yield here


def eventually(true: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


# from nothing


def test_everything_runs_and_a_second_run_changes_nothing(lab: Lab) -> None:
    before = {name: containers_of(host) for name, host in lab.hosts.items()}
    assert {name: set(rows) for name, rows in before.items()} == STACK
    assert {state for rows in before.values() for _, state, _ in rows.values()} == {"running"}
    again = lab.noted(lab.site.deploy())
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output
    assert {name: containers_of(host) for name, host in lab.hosts.items()} == before
    assert f"engine {MODEL} on gpu2: ok" in again.output
    assert "web UI replica 1 on gpu1: ok" in again.output


def test_only_the_entry_and_the_link_can_be_reached_from_outside(lab: Lab) -> None:
    found = {name: open_ports(host.address) for name, host in lab.hosts.items()}
    assert found == {"gpu1": {SSH, HTTP, HTTPS}, "gpu2": {SSH, LINK}}


# people log in with what they have


def test_somebody_logs_in_and_chats_as_themselves(lab: Lab, ada: Visitor) -> None:
    assert lab.role(ADA) == "user"
    chat(ada.page, "Write a Python function fib.")
    shown = "() => document.body.innerText.includes('a, b = b, a + b')"
    ada.page.wait_for_function(shown, timeout=WAIT_MS)
    ada.page.screenshot(path=ARTIFACTS / "login-chat.png")
    spent = """SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "user" = 'ada'"""
    assert eventually(lambda: int(lab.sql("litellm", spent)) > 0)


ASK = """
import sys, urllib.request

url, token = sys.stdin.read().split()
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def test_both_web_uis_know_who_has_logged_in(lab: Lab, ada: Visitor) -> None:
    host = lab.hosts["gpu1"]
    for name in WEB_UIS:
        address = host.run(f"docker exec {name} hostname -i")
        url = f"http://{address}:8080/api/v1/auths/"
        reply = host.run(f"python3 -c {shlex.quote(ASK)}", stdin=f"{url} {ada.token}")
        assert json.loads(reply)["email"] == ADA.email


def test_a_group_administers(browser: Browser, lab: Lab) -> None:
    with visitor(browser, lab.url, "admin") as grace:
        grace.log_in(GRACE, LABEL)
        grace.wait_until_in()
        assert lab.role(GRACE) == "admin"


def test_who_is_in_no_allowed_group_has_no_account(browser: Browser, lab: Lab) -> None:
    with visitor(browser, lab.url, "refused") as eve:
        eve.log_in(EVE, LABEL)
        eve.page.wait_for_url(f"{lab.url}/auth?error=*", timeout=WAIT_MS)
        eve.page.get_by_text("do not have permission").first.wait_for(timeout=WAIT_MS)
    assert lab.role(EVE) == ""


def test_who_comes_without_the_claim_is_not_let_in(browser: Browser, lab: Lab) -> None:
    with visitor(browser, lab.url, "pending") as nobody:
        nobody.log_in(NOBODY, LABEL)
        nobody.page.get_by_text("Pending").first.wait_for(timeout=WAIT_MS)
    assert lab.role(NOBODY) == "pending"


# what changes


def test_what_does_not_answer_is_found_before_anything_is_touched(lab: Lab) -> None:
    before, declared = lab.containers(), lab.site.settings
    closed = f"https://127.0.0.1:{free_port()}"
    lab.site.environment["E2E_LDAP"] = "not-the-password"
    lab.site.write(lab.with_directory(issuer=closed))
    refused = lab.noted(lab.site.deploy())
    lab.site.environment["E2E_LDAP"] = BIND_PASSWORD
    lab.site.write(declared)
    assert refused.status != 0
    assert f"{closed}/.well-known/openid-configuration does not answer the host" in refused.output
    assert f"refuses {READER}: wrong name or password" in refused.output
    assert "not-the-password" not in refused.output
    assert lab.containers() == before


def test_what_is_replaced_is_not_missed(lab: Lab, ada: Visitor) -> None:
    """Engines, routers and web UIs, while programs and people ask; both ends of the link, too."""
    before, token = lab.containers(), ada.token
    settings = lab.with_directory()
    lab.site.write(
        settings
        | {
            "engine": settings["engine"] | {"memory_limit": "1GiB"},
            "router": settings["router"] | {"num_retries": 3},
        }
    )
    trusted = trusting(lab.site.atelier("ca").stdout)
    load = Load(lab.url, MASTER_KEY, MODEL, verify=trusted, pause_seconds=PAUSE_SECONDS)
    with lab.api(token) as client, asking(client) as statuses, steady_load(load) as wait_for:
        for result in lab.site.converged_twice():
            lab.noted(result)
        wait_for(max(40, ENOUGH - load.answered))
    assert load.failures == []
    assert load.answered >= ENOUGH
    assert set(statuses) == {200}, statuses
    after = lab.containers()
    changed = {name for name, row in after.items() if row != before[name]}
    assert changed == {*WEB_UIS, *ROUTERS, *ENGINES}
    ada.page.reload()
    ada.wait_until_in()
    assert ada.token == token


@contextmanager
def asking(client: httpx.Client) -> Iterator[Counter[int]]:
    """Ask again and again who one is, and count what is answered; 0 for no answer."""
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.2):
            try:
                statuses[client.get("/api/v1/auths/").status_code] += 1
            except httpx.HTTPError:
                statuses[0] += 1

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


@pytest.mark.long
@pytest.mark.parametrize("name", WEB_UIS)
def test_a_web_ui_dies_and_people_go_on_at_the_other(lab: Lab, ada: Visitor, name: str) -> None:
    """Each of them once, so that one of the two is that which the page is connected to."""
    host, token, before = lab.hosts["gpu1"], ada.token, lab.containers()
    with lab.api(token) as client, asking(client) as statuses:
        host.run(f"kill -9 $(docker inspect -f '{{{{.State.Pid}}}}' {name})")
        begun = time.monotonic()
        assert eventually(lambda: not state_of(host, name).startswith("UP"))
        took = time.monotonic() - begun
        # a new chat of the same page, not loaded again: its websocket has found the other one
        ada.page.keyboard.press("Control+Shift+O")
        ada.page.wait_for_function(f"!{ANSWERED}", timeout=WAIT_MS)
        chat(ada.page, "Write a Python function fib.")
        ada.page.wait_for_function(ANSWERED, timeout=WAIT_MS)
        assert eventually(lambda: state_of(host, name).startswith("UP"), seconds=300)
    print(f"{name}: left out after {took:.1f} s; {dict(statuses)}")  # noqa: T201 - measured
    assert set(statuses) == {200}, statuses
    after = lab.containers()
    assert {each for each, row in after.items() if row != before[each]} == {name}
    # the same container, which Docker has started again
    assert after[name][0] == before[name][0]
    assert ada.token == token
    lab.noted(again := lab.site.deploy())
    assert again.changes == [], again.output


def state_of(host: Host, name: str) -> str:
    """What the entry says of a web UI."""
    said = host.run(f"docker exec coder-haproxy-0 bash -c '{ASK_ENTRY_FOR_WEB_UIS}'")
    return router_states(said)[name]


def test_a_group_of_the_directory_logs_in(lab: Lab) -> None:
    """As it is declared since everything was replaced."""
    with lab.api() as client:

        def log_in(person: Login, password: str) -> httpx.Response:
            body = {"user": person.name, "password": password}
            return client.post("/api/v1/auths/ldap", json=body)

        entered = log_in(GRACE, GRACE.password)
        assert (entered.status_code, entered.json()["email"]) == (200, GRACE.email)
        assert log_in(GRACE, "not-hers-012345").status_code == 400
        assert log_in(EVE, EVE.password).status_code == 400
    assert lab.role(EVE) == ""


def test_who_logs_out_is_out_there_too(lab: Lab, ada: Visitor) -> None:
    token = ada.token
    asked = "() => fetch('/api/v1/auths/signout', {method: 'POST'}).then((reply) => reply.json())"
    left = ada.page.evaluate(asked)
    assert left["redirect_url"].startswith(f"{lab.provider.issuer}/")
    ada.page.evaluate("() => localStorage.removeItem('token')")
    # this provider leads nobody back: Open WebUI does not say which client it is
    ada.page.goto(left["redirect_url"])
    with lab.api(token) as client:
        assert client.get("/api/v1/auths/").status_code == 401
    # it asks again who it is
    ada.page.goto(f"{lab.url}/oauth/oidc/login")
    ada.page.wait_for_selector("input[name=login]", timeout=WAIT_MS)


# after all of that


def test_secrets_are_nowhere_but_where_they_are_used(lab: Lab) -> None:
    names = "$(docker ps -aq)"
    looks = {
        "labels": f"docker inspect -f '{{{{json .Config.Labels}}}}' {names}",
        "arguments": "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '",
        "logs": f"for each in {names}; do docker logs $each 2>&1; done",
        "journal": "journalctl --no-pager; cat /var/log/*.log 2>/dev/null",
    }
    places = {
        f"{what} of {name}": host.run(command, check=False)
        for name, host in lab.hosts.items()
        for what, command in looks.items()
    }
    places["output"] = lab.printed
    assert min(map(len, places.values())) > 100
    secrets = lab.secrets()
    assert len(secrets) > 10
    found = [
        (name, where) for name in secrets for where in places if secrets[name] in places[where]
    ]
    assert found == []
