"""People log in to two web UIs with the accounts that they have, through the entry's TLS.

The provider is Canaille, the directory OpenLDAP's slapd. Who logs in does so in a browser.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.names import CHECKOUT
from tests.e2e.provider import PEOPLE, READER, Login, Provider, group_dn, run_provider
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Result,
    Settings,
    Site,
    free_port,
    settings_here,
    with_entry,
)
from tests.e2e.test_demo import ARTIFACTS, CHROMIUM_FLAGS, WAIT_MS
from tests.e2e.test_entry import trusting
from tests.e2e.test_secrets import ArgumentWatch
from tests.e2e.test_stores import run

NAME = f"e2e-logins-{CHECKOUT}"
MODEL = "tiny-coder"
PING = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "ping"}],
    "stream": False,
    "max_tokens": 4,
}
CLIENT_SECRET, BIND_PASSWORD = "client-secret-of-e2e-0123", "bind-password-of-e2e-4567"
GIVEN = {"E2E_OIDC": CLIENT_SECRET, "E2E_LDAP": BIND_PASSWORD, "E2E_MASTER_KEY": MASTER_KEY}
# a comma in the name of a group, as directories have them
CHAT, ADMINS = "chat, all", "admins"
ADA = Login("ada", "Ada Lovelace", "of-ada-0123456789", (CHAT,))
GRACE = Login("grace", "Grace Hopper", "of-grace-0123456789", (CHAT, ADMINS))
EVE = Login("eve", "Eve Stranger", "of-eve-0123456789", ("guests",))
NOBODY = Login("nobody", "Nobody Ungrouped", "of-nobody-0123456789")
WEB_UIS = [f"{NAME}-open-webui-{index}" for index in (0, 1)]


class Deployed(Site):
    """The deployment, and everything that was printed of it."""

    printed: str = ""
    arguments: bytes = b""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.settings['entry']['https_port']}"

    def run(self, *flags: str) -> Result:
        result = super().run(*flags)
        self.printed += result.output + json.dumps(result.changes)
        return result

    def sql(self, database: str, statement: str) -> str:
        command = ["psql", "-U", "postgres", "-d", database, "-Atc", statement]
        return run(self.container("postgres"), command).strip()

    def role(self, person: Login) -> str:
        """What somebody's account may do; empty without one."""
        return self.sql(
            "open_webui",
            f"SELECT role FROM public.user WHERE email = '{person.email}'",  # noqa: S608
        )

    def secrets(self) -> dict[str, str]:
        text = (self.directory / f".secrets/{NAME}.yaml").read_text()
        kept = dict(yaml.safe_load(text))
        del kept["certificates"]
        return kept | {"oidc": CLIENT_SECRET, "ldap": BIND_PASSWORD}


@dataclass
class Visitor:
    """Somebody with a browser of their own."""

    page: Page
    url: str
    pages: list[str] = field(default_factory=list)

    def log_in(self, person: Login) -> None:
        """Continue with the provider, and say there who one is."""
        self.page.goto(f"{self.url}/auth")
        self.page.get_by_role("button", name="Continue with Example Lab").click(timeout=WAIT_MS)
        self.page.wait_for_selector("input[name=login]", timeout=WAIT_MS)
        self.page.fill("input[name=login]", person.name)
        self.page.locator("button[type=submit]").first.click()
        self.page.wait_for_selector("input[name=password]", timeout=WAIT_MS)
        self.page.fill("input[name=password]", person.password)
        self.page.locator("button[type=submit]").first.click()

    def wait_until_in(self) -> None:
        self.page.wait_for_selector("#chat-input", timeout=WAIT_MS)

    @property
    def token(self) -> str:
        """What the browser shows to the web UI."""
        (cookie,) = (c for c in self.page.context.cookies() if c.get("name") == "token")
        assert cookie["secure"] is True
        return str(cookie["value"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = with_entry(settings_here(NAME, tmp_path_factory.mktemp("host")))
    web_ui = settings["web_ui"] | {"replicas": 2, "drain_seconds": 3, "memory_limit": "1GiB"}
    return settings | {
        "web_ui": web_ui,
        "postgres": {"memory_limit": "512MiB"},
        "valkey": {},
        "people": [{"name": "ada", "email": ADA.email}],
    }


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Provider]:
    url = f"https://127.0.0.1:{settings['entry']['https_port']}"
    client: dict[str, object] = {
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
    people = (ADA, GRACE, EVE, NOBODY)
    path = tmp_path_factory.mktemp("provider")
    with run_provider(f"{NAME}-provider", path, people, client, BIND_PASSWORD) as running:
        yield running


def with_logins(settings: Settings, provider: Provider, **logins: Any) -> Settings:
    """The settings with these logins besides what is common to all."""
    oidc = {
        "issuer": provider.issuer,
        "client_id": "lab-chat",
        "client_secret": {"env": "E2E_OIDC"},
        "label": "Example Lab",
        "scopes": ["openid", "email", "profile", "groups"],
        "admin_groups": [ADMINS],
        "ca_file": str(provider.authority),
    }
    changed = copy.deepcopy(settings)
    changed["web_ui"]["oidc"] = oidc | logins.pop("oidc", {})
    changed["web_ui"] |= logins
    return changed


def with_directory(settings: Settings, provider: Provider, **ldap: Any) -> Settings:
    """Everybody of the provider, and one group of the directory."""
    own = {
        "url": provider.directory_url,
        "search_base": PEOPLE,
        "bind_dn": READER,
        "bind_password": {"env": "E2E_LDAP"},
        "allowed_groups": [group_dn(CHAT)],
        "ca_file": str(provider.authority),
    }
    return with_logins(settings, provider, ldap=own | ldap)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, provider: Provider
) -> Iterator[Deployed]:
    declared = with_logins(settings, provider, oidc={"allowed_groups": [CHAT]})
    site = Deployed(NAME, tmp_path_factory.mktemp("site"), declared, dict(GIVEN))
    watch = ArgumentWatch()
    watch.start()
    try:
        result = site.run("-y", "-vvv")
        watch.stop()
        assert result.status == 0, result.output
        site.arguments = b"\0".join(watch.seen)
        yield site
    finally:
        site.remove()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS
        )
        yield opened
        opened.close()


@contextmanager
def visitor(browser: Browser, site: Deployed, picture: str) -> Iterator[Visitor]:
    """A browser that has never been there; a picture of the last that it shows is kept."""
    context: BrowserContext = browser.new_context(
        ignore_https_errors=True, locale="en-US", viewport={"width": 1280, "height": 800}
    )
    page = context.new_page()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    try:
        yield Visitor(page, site.url)
    finally:
        page.screenshot(path=ARTIFACTS / f"login-{picture}.png")
        context.close()


@pytest.fixture(scope="module")
def ada(browser: Browser, site: Deployed) -> Iterator[Visitor]:
    """Somebody of an allowed group, who has logged in once and for all tests."""
    with visitor(browser, site, "ada") as here:
        here.log_in(ADA)
        here.wait_until_in()
        yield here


@contextmanager
def api(site: Deployed, token: str = "") -> Iterator[httpx.Client]:
    """The web UI's API, through the entry, whose certificate is believed for what it is."""
    root = site.atelier("ca").stdout
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(
        base_url=site.url,
        verify=trusting(root),
        headers=headers,
        timeout=START_TIMEOUT_SECONDS,
        trust_env=False,
    ) as client:
        yield client


def eventually(true: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def test_somebody_logs_in_and_asks_as_themselves(site: Deployed, ada: Visitor) -> None:
    assert site.role(ADA) == "user"
    with api(site, ada.token) as client:
        answer = client.post("/api/chat/completions", json=PING)
        assert answer.status_code == 200, answer.text
    spent = """SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "user" = 'ada'"""
    assert eventually(lambda: int(site.sql("litellm", spent)) > 0)


def test_both_web_uis_know_who_has_logged_in(site: Deployed, ada: Visitor) -> None:
    for name in WEB_UIS:
        networks = site.client.containers.get(name).attrs["NetworkSettings"]["Networks"]
        address = networks[NAME]["IPAddress"]
        headers = {"Authorization": f"Bearer {ada.token}"}
        reply = httpx.get(f"http://{address}:8080/api/v1/auths/", headers=headers, timeout=60)
        assert (reply.status_code, reply.json()["email"]) == (200, ADA.email)
    assert "web UI replica 1: ok" in site.printed


def test_a_group_administers(browser: Browser, site: Deployed) -> None:
    with visitor(browser, site, "admin") as grace:
        grace.log_in(GRACE)
        grace.wait_until_in()
        assert site.role(GRACE) == "admin"


def test_who_is_in_no_allowed_group_has_no_account(browser: Browser, site: Deployed) -> None:
    with visitor(browser, site, "refused") as eve:
        eve.log_in(EVE)
        eve.page.wait_for_url(f"{site.url}/auth?error=*", timeout=WAIT_MS)
        eve.page.get_by_text("do not have permission").first.wait_for(timeout=WAIT_MS)
    assert site.role(EVE) == ""


def test_who_comes_without_the_claim_is_not_let_in(browser: Browser, site: Deployed) -> None:
    with visitor(browser, site, "pending") as nobody:
        nobody.log_in(NOBODY)
        nobody.page.get_by_text("Pending").first.wait_for(timeout=WAIT_MS)
    assert site.role(NOBODY) == "pending"


def test_what_does_not_answer_is_found_before_anything_is_touched(
    site: Deployed, settings: Settings, provider: Provider
) -> None:
    before, declared = site.snapshot(), site.settings
    closed = f"https://127.0.0.1:{free_port()}"
    site.environment = GIVEN | {"E2E_LDAP": "not-the-password"}
    site.write(with_directory(settings, provider))
    site.settings["web_ui"]["oidc"]["issuer"] = closed
    site.write(site.settings)
    refused = site.deploy()
    site.environment = dict(GIVEN)
    site.write(declared)
    assert refused.status != 0
    assert f"{closed}/.well-known/openid-configuration does not answer the host" in refused.output
    assert f"refuses {READER}: wrong name or password" in refused.output
    assert "not-the-password" not in refused.output
    assert site.snapshot() == before


def test_a_redeployment_logs_nobody_out(
    site: Deployed, settings: Settings, provider: Provider, ada: Visitor
) -> None:
    """One after the other is replaced; a run after that one changes nothing."""
    site.write(with_directory(settings, provider))
    before, token = site.snapshot(), ada.token
    assert {name for name in before if "open-webui" in name} == set(WEB_UIS)
    with api(site, token) as client, asking(client) as statuses:
        site.apply()
    assert statuses
    assert set(statuses) == {200}, statuses
    changed = {name for name, state in site.snapshot().items() if state != before.get(name)}
    assert changed == set(WEB_UIS)
    ada.page.reload()
    ada.wait_until_in()
    assert ada.token == token


@contextmanager
def asking(client: httpx.Client) -> Iterator[list[int]]:
    """Ask again and again who one is, and collect what is answered; 0 for no answer."""
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.2):
            try:
                statuses.append(client.get("/api/v1/auths/").status_code)
            except httpx.HTTPError:
                statuses.append(0)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def test_a_group_of_the_directory_logs_in(site: Deployed) -> None:
    """After the redeployment, which declares the directory."""
    with api(site) as client:

        def log_in(person: Login, password: str) -> httpx.Response:
            body = {"user": person.name, "password": password}
            return client.post("/api/v1/auths/ldap", json=body)

        entered = log_in(GRACE, GRACE.password)
        assert (entered.status_code, entered.json()["email"]) == (200, GRACE.email)
        assert log_in(GRACE, "not-hers-012345").status_code == 400
        assert log_in(EVE, EVE.password).status_code == 400
    assert site.role(EVE) == ""


def test_who_logs_out_is_out_there_too(site: Deployed, ada: Visitor) -> None:
    token = ada.token
    asked = "() => fetch('/api/v1/auths/signout', {method: 'POST'}).then((reply) => reply.json())"
    left = ada.page.evaluate(asked)
    assert left["redirect_url"].startswith(f"{site.settings['web_ui']['oidc']['issuer']}/")
    ada.page.evaluate("() => localStorage.removeItem('token')")
    # this provider leads nobody back: Open WebUI does not say which client it is
    ada.page.goto(left["redirect_url"])
    with api(site, token) as client:
        assert client.get("/api/v1/auths/").status_code == 401
    # it asks again who it is
    ada.page.goto(f"{site.url}/oauth/oidc/login")
    ada.page.wait_for_selector("input[name=login]", timeout=WAIT_MS)


def test_secrets_are_nowhere(site: Deployed) -> None:
    labels = json.dumps([item.labels for item in site.client.containers.list(all=True)])
    logs = b"".join(
        item.logs() for item in site.client.containers.list() if str(item.name).startswith(NAME)
    )
    for name, value in site.secrets().items():
        assert value not in site.printed, name
        assert value not in labels, name
        assert value.encode() not in site.arguments, name
        assert value.encode() not in logs, name
