"""The entry: TLS, what it serves and what it does not, limits, certificates, and what breaks."""

from __future__ import annotations

import base64
import copy
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from docker.models.containers import Container
from openai import OpenAI

from deploy.tls.authority import issue
from deploy.tls.pair import Pair
from tests.e2e.names import CHECKOUT
from tests.e2e.privacy import look_for_leaks, searched
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Settings,
    Site,
    settings_here,
    with_entry,
)
from tests.tls.site import site_pair, write_pair

NAME = f"e2e-entry-{CHECKOUT}"
MODEL = "tiny-coder"
NAMES = ["127.0.0.1", "localhost"]
ENTRY, ROUTER, WEB_UI = (f"{NAME}-{service}-0" for service in ("haproxy", "litellm", "open-webui"))
OUTPUTS: list[str] = []
"""What the first dry run, the first run and the second one printed."""
KEY = {"Authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return with_entry(settings_here(NAME, tmp_path_factory.mktemp("host")))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Site]:
    environment = {"E2E_MASTER_KEY": MASTER_KEY}
    site = Site(NAME, tmp_path_factory.mktemp("site"), settings, environment)
    try:
        OUTPUTS[:] = [result.output for result in site.converged_twice()]
        yield site
    finally:
        site.remove()


@pytest.fixture
def site(shared: Site, settings: Settings) -> Site:
    """As the settings declare it, whatever the test before left."""
    if shared.settings != settings:
        shared.converge(settings)
    return shared


def changed(settings: Settings, **entry: Any) -> Settings:
    other = copy.deepcopy(settings)
    other["entry"] |= entry
    return other


def url(site: Site, name: str = "127.0.0.1") -> str:
    return f"https://{name}:{site.settings['entry']['https_port']}"


def root(site: Site) -> str:
    """What clients are given."""
    printed = site.atelier("ca")
    assert printed.returncode == 0, printed.stderr
    return printed.stdout


def trusting(*certificates: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for certificate in certificates:
        context.load_verify_locations(cadata=certificate)
    return context


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with open_client(site) as opened:
        yield opened


def open_client(site: Site, **more: Any) -> httpx.Client:
    verify = trusting(root(site))
    return httpx.Client(base_url=url(site), verify=verify, timeout=120, trust_env=False, **more)


def served(site: Site) -> x509.Certificate:
    """The certificate that the entry serves now."""
    pem = ssl.get_server_certificate(("127.0.0.1", site.settings["entry"]["https_port"]))
    return x509.load_pem_x509_certificate(pem.encode())


def error_of(reply: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, in the shape that OpenAI's clients know."""
    error = reply.json()["error"]
    assert {"message", "type", "param", "code"} == set(error)
    return reply.status_code, str(error["code"])


# what it serves


def test_openais_own_client_completes_through_tls(site: Site) -> None:
    for name in NAMES:
        http: Any = httpx.Client(verify=trusting(root(site)), trust_env=False)
        with http:
            openai = OpenAI(base_url=f"{url(site, name)}/v1", api_key=MASTER_KEY, http_client=http)
            answer = openai.completions.create(
                model=MODEL, prompt="def fib(n):", max_tokens=60, temperature=0
            )
            assert "a, b = b, a + b" in answer.choices[0].text


def test_nobody_else_is_believed_to_be_the_entry(site: Site) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(url(site), trust_env=False)


def test_anthropics_messages(client: httpx.Client) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "ping"}],
    }
    reply = client.post("/v1/messages", headers={"x-api-key": MASTER_KEY}, json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["content"][0]["text"] == "pong"


def test_the_plain_port_leads_there(site: Site) -> None:
    plain = f"http://127.0.0.1:{site.settings['entry']['http_port']}"
    for path in ("/", "/v1/models?a=b"):
        reply = httpx.get(f"{plain}{path}", trust_env=False)
        assert reply.status_code == 308
        assert reply.headers["Location"] == f"{url(site)}{path}"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(site: Site, version: ssl.TLSVersion) -> None:
    context = trusting(root(site))
    context.set_ciphers("ALL:@SECLEVEL=0")
    # what is old is what is tested
    context.minimum_version = context.maximum_version = version
    with pytest.raises(httpx.ConnectError, match=r"(?i)protocol.version"):
        httpx.get(url(site), verify=context, trust_env=False)


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "/key/generate", (403, "forbidden")),
        ("GET", "/ui/", (403, "forbidden")),
        ("GET", "/spend/logs", (403, "forbidden")),
        ("GET", "/model/info", (403, "forbidden")),
        ("GET", "/v1/mcp/server", (404, "unknown_url")),
        ("GET", "/v1/agents", (404, "unknown_url")),
        ("POST", "/V1/mcp/server", (404, "unknown_url")),
        ("GET", "/v1/models/%2e%2e/mcp/server", (400, "bad_path")),
        ("GET", "/v1/models/..%2f../key/list", (400, "bad_path")),
    ],
)
def test_administration_is_not_served(
    client: httpx.Client, method: str, path: str, wanted: tuple[int, str]
) -> None:
    assert error_of(client.request(method, path, headers=KEY)) == wanted


def test_health(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/health/liveliness").status_code == 200
    # what else the router says of its health is the web UI's page here
    assert "litellm" not in client.get("/health/readiness").text.lower()


def test_the_rest_is_the_web_ui(client: httpx.Client, site: Site) -> None:
    assert "<html" in client.get("/").text
    assert client.get("/api/config").json()["name"].startswith("Atelier")
    headers = client.get("/").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "Server" not in headers
    variables = site.client.containers.get(WEB_UI).attrs["Config"]["Env"]
    assert f"WEBUI_URL={url(site)}" in variables


WEBSOCKET = "/ws/socket.io/?EIO=4&transport=websocket"


def upgrade(site: Site) -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes...").decode(),
        "Origin": url(site),
    }


def test_websockets_reach_the_web_ui(site: Site, client: httpx.Client) -> None:
    with client.stream("GET", WEBSOCKET, headers=upgrade(site)) as reply:
        assert reply.status_code == 101
        raw = reply.extensions["network_stream"].read(4096, timeout=30)
    # the first packet of Engine.IO (https://socket.io/docs/v4/engine-io-protocol/#handshake)
    assert b'0{"sid":' in raw


def test_verify_status_and_doctor_know_it(site: Site) -> None:
    verified = site.atelier("verify", "--json")
    checks = {row["name"]: row for row in json.loads(verified.stdout)["checks"]}
    assert verified.returncode == 0, verified.stdout
    assert "with 395 days left" in checks["entry"]["detail"]
    assert "web UI login and chat" in checks
    status = json.loads(site.atelier("status", "--json").stdout)
    [row] = [row for row in status["services"] if row["service"] == ENTRY]
    assert (row["url"], row["certificate_days"], row["health"]) == (url(site), 395, "healthy")
    found = json.loads(site.atelier("doctor", "--json").stdout)["findings"]
    [finding] = [row for row in found if row["name"] == "certificate"]
    assert (finding["status"], finding["found"]) == ("ok", "395 days left")


def test_people_who_are_made_up(site: Site) -> None:
    """They come in where people do: their requests are in the entry's log."""
    began = int(time.time())
    done = site.atelier("load", "--users", "4", "--minutes", "0.15", "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["address"] == url(site)
    assert [use["people"] for use in found["uses"]] == [2, 2]
    assert all(not use["errors"] and not use["too_many"] for use in found["uses"])
    sent = sum(use["requests"] for use in found["uses"])
    log = site.client.containers.get(ENTRY).logs(since=began).decode()
    passed = [row for row in log.splitlines() if '"POST' in row or "/v1/" in row]
    assert len([row for row in passed if "completions" in row]) >= sent
    assert found["queue"]["looks"] > 0
    assert "This is real load" in done.stderr


def test_nothing_of_what_people_ask_is_kept(site: Site) -> None:
    """Here the web UI keeps its chats in SQLite."""
    places = searched(look_for_leaks(site))
    assert places[f"database {WEB_UI}, webui.db"]["kept_by_design"]
    assert places[f"log {ENTRY}"]["found"] == []


# between clients and router


@contextmanager
def without_router(site: Site) -> Iterator[Container]:
    """While the router is away: a program that can take its place, at its name.

    An answer that has begun when the router stops is finished.
    """
    router = site.client.containers.get(ROUTER)
    script = (Path(__file__).parent / "echo_router.py").read_text()
    echo = site.client.containers.create(
        str(router.attrs["Config"]["Image"]),
        entrypoint=["python3", "-u", "-c", script],
        name=f"{NAME}-echo",
    )
    try:
        site.client.networks.get(NAME).connect(echo, aliases=[ROUTER])
        stop_while_it_answers(site, router)
        yield echo
    finally:
        echo.remove(force=True)
        router.start()
        wait_until_served(site)


def stop_while_it_answers(site: Site, router: Container) -> None:
    body = {"model": MODEL, "prompt": "def fib(n):", "max_tokens": 60, "stream": True}
    with (
        open_client(site) as client,
        ThreadPoolExecutor() as pool,
        client.stream("POST", "/v1/completions", headers=KEY, json=body) as reply,
    ):
        lines = (line for line in reply.iter_lines() if line)
        first = next(lines)
        # as Docker stops it when it is replaced
        stopped = pool.submit(router.stop)
        read = [first, *lines]
        stopped.result()
    assert read[-1] == "data: [DONE]"
    assert len(read) > 5


def wait_until_served(site: Site, code: int = 200) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    with open_client(site) as client:
        while client.get("/health").status_code != code:
            assert time.monotonic() < deadline
            time.sleep(0.3)


def test_what_a_router_is_told(site: Site) -> None:
    with without_router(site) as echo, open_client(site) as client:
        wait_until_served(site, 503)
        assert error_of(client.get("/v1/models", headers=KEY)) == (503, "service_unavailable")
        # found at its new address
        echo.start()
        wait_until_served(site)
        forged = {
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Prefix": "/evil",
            "Forwarded": "for=203.0.113.7",
            "X-Real-IP": "203.0.113.7",
            "X-Original-URL": "/key/generate",
        }
        told = client.get("/v1/models", headers=KEY | forged).json()
        seen = {name.lower(): value for name, value in told.items()}
        gateway = site.client.networks.get(NAME).attrs["IPAM"]["Config"][0]["Gateway"]
        assert seen["x-forwarded-for"] == gateway
        assert seen["x-forwarded-proto"] == "https"
        assert seen["authorization"] == KEY["Authorization"]
        assert "203.0.113.7" not in json.dumps(told)
        assert not {"forwarded", "x-real-ip", "x-original-url", "x-forwarded-prefix"} & set(seen)
        # a part arrives while the rest does not exist yet
        body = {"model": MODEL, "stream": True}
        with client.stream("POST", "/v1/chat/completions", headers=KEY, json=body) as reply:
            parts = reply.iter_text()
            assert next(parts) == "data: first\n\n"
            assert client.get("/v1/models/release").status_code == 200
            assert "".join(parts) == "data: [DONE]\n\n"


# limits


def test_limits_of_one_address(site: Site, settings: Settings) -> None:
    before = site.snapshot()
    site.write(changed(settings, requests_per_minute=40, connections=20))
    done = site.deploy()
    assert done.status == 0, done.output
    assert [(action, name.rpartition("/")[2]) for action, name in done.steps] == [
        ("update", "haproxy.cfg")
    ]
    assert site.snapshot() == before
    with open_client(site) as client:
        held = [open_client(site) for _ in range(20)]
        try:
            for each in held:
                each.get("/health")
            reply = client.get("/health")
        finally:
            for each in held:
                each.close()
        assert error_of(reply) == (429, "too_many_connections")
        wait_for_room(client)
        replies = [client.get("/v1/models", headers=KEY) for _ in range(41)]
        assert error_of(replies[-1]) == (429, "rate_limit_exceeded")
        assert replies[-1].headers["Retry-After"] == "10"
        assert "more than 40 requests within a minute" in replies[-1].json()["error"]["message"]


def wait_for_room(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while client.get("/health").json().get("error", {}).get("code") == "too_many_connections":
        assert time.monotonic() < deadline
        time.sleep(0.5)


# certificates


def test_a_certificate_is_renewed_before_it_ends(site: Site) -> None:
    path = site.directory / f".secrets/{NAME}.yaml"
    data = yaml.safe_load(path.read_text())
    authority = Pair(**data["certificates"]["authority"])
    old = issue(authority, NAMES, datetime.now(UTC) - timedelta(days=380))
    data["certificates"]["server"] = {"certificate": old.certificate, "key": old.key}
    path.write_text(yaml.safe_dump(data))
    trusted, before = root(site), site.snapshot()
    planned = site.apply()
    made = "make a certificate for 127.0.0.1, localhost: the one there is has 15 days left"
    assert {(action, resource.rpartition("/")[2]) for action, resource in planned.steps} == {
        (f"{made}, and keep it in", f"{NAME}.yaml"),
        *(("update", "entry.pem"), ("update", "entry.pem.key")),
    }
    assert root(site) == trusted
    assert site.snapshot() == before
    assert (served(site).not_valid_after_utc - datetime.now(UTC)).days == 395
    with open_client(site) as client:
        assert client.get("/health").status_code == 200


def site_files(site: Site, pair: Pair, settings: Settings) -> Settings:
    write_pair(pair, site.directory)
    return changed(settings, certificate="site.crt", key="site.key")


def test_files_of_the_site(site: Site, settings: Settings) -> None:
    pair = site_pair(*NAMES)
    before = site.snapshot()
    site.write(site_files(site, pair, settings))
    done = site.deploy()
    assert done.status == 0, done.output
    assert {action for action, _ in done.steps} == {"update"}
    assert site.snapshot() == before
    assert served(site).public_bytes(serialization.Encoding.PEM).decode() in pair.certificate
    [_, authority] = x509.load_pem_x509_certificates(pair.certificate.encode())
    trusted = authority.public_bytes(serialization.Encoding.PEM).decode()
    reply = httpx.get(f"{url(site)}/health", verify=trusting(trusted), trust_env=False)
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("pair", "found"),
    [
        (Pair(site_pair(*NAMES).certificate, site_pair().key), "not the key of the certificate"),
        (site_pair("ai.lab.example"), "the certificate does not cover 127.0.0.1, localhost"),
        (site_pair(*NAMES, days_ago=400), "it expired on"),
    ],
    ids=["mismatch", "other name", "expired"],
)
def test_files_that_cannot_be_served_touch_nothing(
    site: Site, settings: Settings, pair: Pair, found: str
) -> None:
    before = site.snapshot()
    site.write(site_files(site, pair, settings))
    for result in (site.dry_run(), site.deploy()):
        assert result.status == 1
        assert found in result.output
        assert "Traceback" not in result.output
    assert site.snapshot() == before
    site.write(settings)


def test_what_runs_is_seen_although_the_declared_certificate_has_ended(
    site: Site, settings: Settings
) -> None:
    site.write(site_files(site, site_pair(*NAMES, days_ago=400), settings))
    services = json.loads(site.atelier("status", "--json").stdout)["services"]
    assert [row["certificate_days"] for row in services if row["service"] == ENTRY] == [395]
    findings = json.loads(site.atelier("doctor", "--json").stdout)["findings"]
    [finding] = [row for row in findings if row["name"] == "entry.certificate"]
    assert finding["status"] == "problem"
    site.write(settings)


def weak_pair() -> Pair:
    """A certificate with a key of 1024 bits, which OpenSSL does not serve any more."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - meant to be
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ip_address(NAMES[0])), x509.DNSName(NAMES[1])]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )


def test_a_broken_configuration_leaves_the_one_before(site: Site, settings: Settings) -> None:
    before, certificate = site.snapshot(), served(site)
    site.write(site_files(site, weak_pair(), settings))
    result = site.deploy()
    assert result.status == 1
    assert "key too small" in result.output
    assert "the new files would be refused, so those before them stay" in result.output
    assert served(site) == certificate
    site.write(settings)
    # nor are they there when it starts the next time
    site.container("haproxy").restart()
    wait_until_served(site)
    assert served(site) == certificate
    assert site.deploy().changes == []
    assert {name: row[0] for name, row in site.snapshot().items()} == {
        name: row[0] for name, row in before.items()
    }


@contextmanager
def new_visitors(site: Site) -> Iterator[None]:
    """Each has a connection of its own, all are answered."""
    done, answers, verify = threading.Event(), [], trusting(root(site))

    def ask() -> None:
        while not done.wait(0.05):
            answers.append(httpx.get(f"{url(site)}/health", verify=verify, trust_env=False))

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            done.set()
        asking.result()
    assert {reply.status_code for reply in answers} == {200}
    assert len(answers) > 20


@contextmanager
def an_answer(client: httpx.Client) -> Iterator[None]:
    """One that has begun, and goes on to its end."""
    body = {"model": MODEL, "prompt": "def fib(n):", "max_tokens": 200, "stream": True}
    with client.stream("POST", "/v1/completions", headers=KEY, json=body) as reply:
        lines = (line for line in reply.iter_lines() if line)
        next(lines)
        yield
        assert [*lines][-1] == "data: [DONE]"


def test_nobody_is_refused_while_its_settings_change(site: Site, settings: Settings) -> None:
    with new_visitors(site), open_client(site) as client, an_answer(client):
        site.write(changed(settings, requests_per_minute=50_000))
        result = site.deploy()
        assert result.status == 0, result.output


# replacement


class Page:
    """The connection of a page of the web UI, for as long as it is open.

    It answers ``2`` with ``3`` (https://socket.io/docs/v4/engine-io-protocol/#heartbeat), and the
    server's pings as browsers do. A frame of a client is masked, here with zeros
    (https://www.rfc-editor.org/rfc/rfc6455#section-5.2).
    """

    TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

    def __init__(self, client: httpx.Client, site: Site) -> None:
        self.said, self.unread = b"", b""
        self.asks, self.ends = threading.Event(), threading.Event()
        self.client, self.site = client, site

    def run(self) -> None:
        with self.client.stream("GET", WEBSOCKET, headers=upgrade(self.site)) as reply:
            assert reply.status_code == 101
            stream = reply.extensions["network_stream"]
            while not self.ends.is_set():
                with suppress(httpcore.ReadTimeout):
                    read = stream.read(4096, timeout=0.5)
                    assert read, "it was cut"
                    self.unread += read
                for kind, content in self.frames():
                    assert kind != self.CLOSE, content
                    if kind == self.PING:
                        stream.write(self.frame(self.PONG, content))
                    elif content == b"2":
                        stream.write(self.frame(self.TEXT, b"3"))
                    else:
                        self.said += content
                if self.asks.is_set():
                    # for the namespace, which is answered whether there is a login or not
                    stream.write(self.frame(self.TEXT, b"40"))
                    self.asks.clear()

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Kind and content of those that have come as a whole; here none is of 64 KiB."""
        while len(self.unread) >= 4 or (len(self.unread) >= 2 and self.unread[1] < 126):
            length, begin = self.unread[1], 2
            if length == 126:
                length, begin = int.from_bytes(self.unread[2:4]), 4
            if len(self.unread) < begin + length:
                return
            yield self.unread[0] & 15, self.unread[begin : begin + length]
            self.unread = self.unread[begin + length :]

    @staticmethod
    def frame(kind: int, content: bytes) -> bytes:
        """One of a client, whose content is short."""
        return bytes([128 | kind, 128 | len(content), 0, 0, 0, 0]) + content

    def is_answered(self) -> bool:
        """Whether the connection works in both directions."""
        before = len(self.said)
        self.asks.set()
        deadline = time.monotonic() + 30
        while b"4" not in self.said[before:]:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)
        return True


@contextmanager
def open_page(client: httpx.Client, site: Site) -> Iterator[Page]:
    page = Page(client, site)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(page.run)
        try:
            yield page
        finally:
            page.ends.set()
            running.result()


def tag_image(container: Container, tag: str) -> None:
    """A container's image is one of HAProxy, too."""
    assert container.image
    assert container.image.tag(f"{NAME}-haproxy", tag)


def entries(site: Site) -> dict[str, str]:
    """Ids of the HAProxy that serves, and of those that only finish what they have begun."""
    return {name: row[0] for name, row in site.snapshot().items() if name.startswith(ENTRY)}


def wait_until_alone(site: Site) -> None:
    deadline = time.monotonic() + 60
    while [*entries(site)] != [ENTRY]:
        assert time.monotonic() < deadline, entries(site)
        time.sleep(0.3)


def test_nobody_is_refused_while_it_is_replaced(site: Site, settings: Settings) -> None:
    """By one with another memory limit, then by one of another image; pages stay connected."""
    tag_image(site.container("haproxy"), "newer")
    other = changed(settings, memory_limit="400MiB")
    before, listener = entries(site), site.container("listener").id
    try:
        with new_visitors(site), open_client(site) as client, open_page(client, site) as page:
            assert page.is_answered()
            with an_answer(client):
                site.write(other)
                result = site.apply()
            assert set(result.steps) == {("recreate", f"container {ENTRY}")}
            both = entries(site)
            assert len(both) == 2
            assert both.pop(ENTRY) not in before.values()
            assert [*both.values()] == [*before.values()]
            site.write(other | {"images": {"haproxy": {"reference": f"{NAME}-haproxy:newer"}}})
            assert site.apply().fields == {"image"}
            # the page is where it was; the one between them has had nothing to wait for
            assert set(before.values()) < set(entries(site).values())
            assert page.is_answered()
        wait_until_alone(site)
        assert site.container("listener").id == listener
        assert site.deploy().changes == []
        wait_until_served(site)
    finally:
        site.converge(settings)
        site.client.images.remove(f"{NAME}-haproxy:newer")


def test_one_that_does_not_work_never_takes_the_place(site: Site, settings: Settings) -> None:
    """Here its image is Python's, which has no HAProxy."""
    tag_image(site.container("listener"), "broken")
    wait_until_alone(site)
    before = entries(site)
    try:
        with new_visitors(site):
            images = {"haproxy": {"reference": f"{NAME}-haproxy:broken"}}
            site.write(changed(settings, start_timeout_seconds=5) | {"images": images})
            result = site.deploy()
        assert result.status == 1
        assert f"{ENTRY}: the container before it serves again" in result.output
        assert entries(site) == before
    finally:
        site.converge(settings)
        site.client.images.remove(f"{NAME}-haproxy:broken")


def test_it_hears_again_when_its_listener_has_started_anew(site: Site) -> None:
    site.container("listener").restart()
    wait_until_served(site)
    assert site.deploy().status == 0
    assert site.deploy().changes == []


# secrets


def test_keys_are_nowhere_but_where_they_are_used(site: Site, settings: Settings) -> None:
    shown = [*OUTPUTS, site.atelier("check", "--json").stdout]
    kept = yaml.safe_load((site.directory / f".secrets/{NAME}.yaml").read_text())["certificates"]
    # the third line is the public key, which certificates have, too
    lines = [line for part in kept.values() for line in part["key"].splitlines()[1:3]]
    containers = [site.client.containers.get(name) for name in site.snapshot()]
    shown += [json.dumps(each.attrs) for each in containers]
    shown += [each.logs().decode() for each in containers]
    assert len(lines) == 4
    for line in lines:
        assert not any(line in text for text in shown)
    directory = Path(settings["hosts"][0]["directory"])
    with_keys = [
        path
        for path in directory.rglob("*")
        if path.is_file() and any(line in path.read_text("latin-1") for line in lines)
    ]
    assert [path.name for path in with_keys] == ["entry.pem.key"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in with_keys)


def test_a_key_of_whoever_deployed_is_read(site: Site, settings: Settings) -> None:
    """A user who may use Docker without being root owns the files that a deployment writes."""
    directory = Path(settings["hosts"][0]["directory"])
    for path in directory.rglob("entry.pem.key"):
        os.chown(path, 1234, 1234)
    site.container("haproxy").restart()
    wait_until_served(site)


def test_it_ends_when_it_is_told_to(site: Site) -> None:
    """Not when Docker has lost its patience, with 137."""
    entry = site.container("haproxy")
    entry.stop(timeout=60)
    entry.reload()
    assert entry.attrs["State"]["ExitCode"] == 0
    entry.start()
    wait_until_served(site)


def test_it_goes_when_it_is_no_longer_declared(site: Site, settings: Settings) -> None:
    other = copy.deepcopy(settings)
    del other["entry"]
    site.write(other)
    done = site.deploy()
    assert done.status == 0, done.output
    assert ("remove", f"container {ENTRY}") in done.announced
    assert ENTRY not in site.snapshot()
