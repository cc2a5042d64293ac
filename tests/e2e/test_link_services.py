"""An entry on one host, routers and a web UI on another, as containers on this machine.

The entry and the link are those of a deployment; routers and web UI are stand-ins that tell what
reaches them. Deployments between hosts are in test_several_hosts.py.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from deploy.artefacts import make_artefacts
from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from deploy.services import Tier, Unit
from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import Pair
from deploy.units import MIB
from tests.conftest import declare
from tests.e2e.hosts import bridge, build_host_image, docker
from tests.e2e.load import ASK_ENTRY, router_states
from tests.e2e.names import NAME
from tests.e2e.site import free_port
from tests.e2e.test_links import PATIENCE_SECONDS, Link, answers, ids, wait_until

DEPLOYMENT = f"{NAME}-hops"
ROUTERS = {f"{DEPLOYMENT}-litellm-{index}": 4000 for index in range(2)}
WEB_UI = f"{DEPLOYMENT}-open-webui-0"
ENTRY = f"{DEPLOYMENT}-haproxy-0"
STAND_IN = """
import base64, hashlib, json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

told = threading.Event()

class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            self.echo()
        elif self.path == "/v1/models/go":
            told.set()
            self.answer({})
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.answer({"path": self.path, "headers": headers})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"stream" in body:
            self.stream()
        else:
            self.answer({"bytes": len(body)})

    def stream(self):
        told.clear()
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"first", b"second", b""):
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))
            self.wfile.flush()
            if part == b"first":
                told.wait(100)

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        while data := self.connection.recv(1000):
            self.connection.sendall(data)
        self.close_connection = True

    def answer(self, said):
        data = json.dumps({"name": os.environ["NAME"], **said}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Service).serve_forever()
"""


class Hops(Link):
    """The entry on host a, and the link of host b."""

    @property
    def containers(self) -> tuple[Unit, ...]:
        tiers = (Tier.LINK, Tier.LISTENER, Tier.ENTRY)
        return tuple(unit for tier in tiers for unit in self.artefacts.stack.tier(tier))

    @property
    def trusted(self) -> ssl.SSLContext:
        own = self.artefacts.secrets.certificates
        assert own
        return ssl.create_default_context(cadata=own.authority.certificate)

    def client(self) -> httpx.Client:
        """Of somebody who asks the entry, and nothing twice."""
        return httpx.Client(
            base_url=self.url, verify=self.trusted, timeout=PATIENCE_SECONDS, trust_env=False
        )

    def states(self) -> dict[str, str]:
        """What the entry says of its routers."""
        return router_states(docker("exec", ENTRY, "bash", "-c", ASK_ENTRY, check=False))


@pytest.fixture(scope="module")
def hops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hops]:
    plans = [make_build_plan(name, load_catalog()) for name in ("haproxy", "python")]
    build_images(plans, report=lambda _line: None)
    home = tmp_path_factory.mktemp("hops")
    https_port = free_port()
    spec = declare(
        name=DEPLOYMENT,
        hosts=[
            # with the engine, which no link leads to
            {"name": "b", "address": bridge(), "directory": str(home / "b")},
            {"name": "a", "address": "127.0.0.1", "directory": str(home / "a")},
        ],
        router={"host": "b", "replicas": 2},
        entry={
            "host": "a",
            "listen": "127.0.0.1",
            "https_port": https_port,
            "http_port": free_port(),
            "requests_per_minute": 60_000,
        },
        links={"port": free_port()},
        image_source="build",
    )
    made = Hops(make_artefacts(spec, home), f"https://127.0.0.1:{https_port}")
    stand_ins = {**ROUTERS, WEB_UI: 8080}
    try:
        docker("network", "create", DEPLOYMENT)
        image = build_host_image(with_docker=True)
        for name, port in stand_ins.items():
            options = ("--detach", "--init", "--network", DEPLOYMENT, "--name", name)
            named = ("--env", f"NAME={name}", image)
            docker("run", *options, *named, "python3", "-c", STAND_IN, str(port))
        made.create()
        wait_until(lambda: ENTRY in docker("ps", "--format", "{{.Names}}"))
        wait_until(lambda: made.states() == dict.fromkeys(ROUTERS, "UP"))
        yield made
    finally:
        docker("rm", "--force", *stand_ins, check=False)
        made.remove()
        docker("network", "rm", DEPLOYMENT, check=False)


def test_services_are_asked_and_told_who_asks(hops: Hops) -> None:
    with hops.client() as client:
        router = client.get("/v1/models", headers={"X-Forwarded-For": "6.6.6.6"}).json()
        web_ui = client.get("/api/config?x=1").json()
    assert router["name"] in ROUTERS
    assert (web_ui["name"], web_ui["path"]) == (WEB_UI, "/api/config?x=1")
    for said in (router, web_ui):
        assert said["headers"]["x-forwarded-for"] not in {"6.6.6.6", ""}
        assert said["headers"]["x-forwarded-proto"] == "https"
        assert "x-atelier-link" not in said["headers"]


def test_what_is_asked_is_not_for_clients_to_say(hops: Hops) -> None:
    with hops.client() as client:
        asked = client.get("/api/config", headers={"X-Atelier-Link": next(iter(ROUTERS))}).json()
        climbed = client.get(f"/{next(iter(ROUTERS))}/v1/models").json()
        # what the headers of a browser can be like
        large = client.get("/api/config", headers={"Cookie": "x" * 30_000}).json()
    assert asked["name"] == WEB_UI
    assert (climbed["name"], climbed["path"]) == (WEB_UI, f"/{next(iter(ROUTERS))}/v1/models")
    assert len(large["headers"]["cookie"]) == 30_000


def test_large_requests_arrive_whole(hops: Hops) -> None:
    """They do not fit into what the entry can send to another router."""
    with hops.client() as client:
        reply = client.post("/v1/completions", json={"prompt": "x" * 2_000_000}).json()
    assert reply["bytes"] > 2_000_000


def test_a_stream_and_a_websocket_go_on_while_certificates_are_replaced(hops: Hops) -> None:
    """And everybody else is answered meanwhile."""
    with hops.client() as client, websocket(hops) as way, asking(hops) as answered:
        say(way, b"before")
        body = {"stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            parts = stream.iter_raw()
            assert next(parts) == b"first"
            hops.rotate()
            say(way, b"after")
            assert told_to_go_on(client, parts) == b"second"
    assert set(answered) == {200}
    assert answered[200] > 20


def test_a_stream_and_a_websocket_go_on_while_the_link_is_replaced(hops: Hops) -> None:
    """And everybody else is answered meanwhile."""
    end, _ = hops.ends
    before = ids(hops)[end.name]
    with hops.client() as client, websocket(hops) as way, asking(hops) as answered:
        say(way, b"before")
        with client.stream("POST", "/v1/chat/completions", json={"stream": True}) as stream:
            parts = stream.iter_raw()
            assert next(parts) == b"first"
            hops.replace(end, memory_bytes=300 * MIB)
            say(way, b"after")
            now = ids(hops)
            assert now.pop(end.name) != before
            # the one before has both
            assert before in now.values()
            rest = told_to_go_on(client, parts)
        assert rest == b"second"
    print(f"answered {answered}")  # noqa: T201 - measured
    assert set(answered) == {200}
    assert answered[200] > 50
    wait_until(lambda: set(ids(hops)) == {unit.name for unit in hops.containers})


def told_to_go_on(client: httpx.Client, parts: Iterator[bytes]) -> bytes:
    """The rest of a stream, when both routers have been told that it may go on."""
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(lambda: b"".join(parts))
        # the other router may have been told
        while not rest.done():
            client.get("/v1/models/go")
        return rest.result()


def test_a_router_that_dies_is_left_out_and_no_one_notices(hops: Hops) -> None:
    name = next(iter(ROUTERS))
    with asking(hops) as answered:
        docker("kill", name)
        begun = time.monotonic()
        wait_until(lambda: hops.states()[name].startswith("DOWN"))
        took = time.monotonic() - begun
        docker("start", name)
        wait_until(lambda: hops.states() == dict.fromkeys(ROUTERS, "UP"))
    print(f"left out after {took:.1f} s")  # noqa: T201 - measured
    assert set(answered) == {200}


def test_without_any_router_the_entry_says_so(hops: Hops) -> None:
    docker("kill", *ROUTERS)
    with hops.client() as client:
        reply = client.get("/v1/models")
        docker("start", *ROUTERS)
        wait_until(lambda: hops.states() == dict.fromkeys(ROUTERS, "UP"))
        # 502 for as long as the entry has not yet left them out
        assert reply.status_code in {502, 503}
        assert reply.json()["error"]["code"] == "service_unavailable"
        assert reply.headers["Retry-After"] == "5"
        assert client.get("/v1/models").status_code == 200


def test_the_link_is_open_to_the_entry_alone(hops: Hops, tmp_path: Path) -> None:
    kept = hops.artefacts.secrets.links
    assert kept
    now, own = datetime.now(UTC), kept.pairs["a client"]
    asked = f"/{next(iter(ROUTERS))}/v1/models"
    assert ask_link(hops, tmp_path, own, asked) == "HTTP/1.1 200 OK"
    assert ask_link(hops, tmp_path, own, "/v1/models") == "HTTP/1.1 503 Service Unavailable"
    # an entry that knows of one that is gone asks another one
    assert ask_link(hops, tmp_path, own, "/v1/models", f"{DEPLOYMENT}-litellm-2") == ""
    other_host = issue(kept.authority, ("c.link",), now, "client")
    assert ask_link(hops, tmp_path, other_host, asked) == "HTTP/1.1 403 Forbidden"
    stranger = issue(make_authority("links", now), ("a.link",), now, "client")
    for offered in (None, stranger, kept.pairs["b server"]):
        assert ask_link(hops, tmp_path, offered, asked) == "refused"


def ask_link(hops: Hops, directory: Path, own: Pair | None, path: str, named: str = "") -> str:
    """The first line of what the link of host b answers to whoever has a certificate."""
    header = f"X-Atelier-Link: {named}\r\n" if named else ""
    kept, plan = hops.artefacts.secrets.links, hops.artefacts.plan.links
    assert kept
    assert plan
    context = ssl.create_default_context(cadata=kept.authority.certificate)
    if own:
        (directory / "own.pem").write_text(own.certificate + own.key)
        context.load_cert_chain(directory / "own.pem")
    try:
        with (
            socket.create_connection((bridge(), plan.spec.port), PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="b.link") as way,
        ):
            way.sendall(f"GET {path} HTTP/1.1\r\nHost: b\r\n{header}\r\n".encode())
            return way.recv(1000).split(b"\r\n")[0].decode()
    except (ssl.SSLError, ConnectionError):
        return "refused"


@contextmanager
def websocket(hops: Hops) -> Iterator[ssl.SSLSocket]:
    """One to the web UI, which sends back whatever it is sent."""
    url = httpx.URL(hops.url)
    head = (
        f"GET /ws HTTP/1.1\r\nHost: {url.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with (
        socket.create_connection((url.host, url.port or 0), PATIENCE_SECONDS) as plain,
        hops.trusted.wrap_socket(plain, server_hostname=url.host) as way,
    ):
        way.sendall(head.encode())
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            part = way.recv(1000)
            assert part, said
            said += part
        assert said.startswith(b"HTTP/1.1 101 ")
        yield way


def say(way: ssl.SSLSocket, data: bytes) -> None:
    """What is sent comes back."""
    way.sendall(data)
    assert way.recv(1000) == data


@contextmanager
def asking(hops: Hops) -> Iterator[Counter[int | str]]:
    """Four who ask all the time, each thing once; what they were answered."""
    answered: Counter[int | str] = Counter()
    over = threading.Event()

    def ask() -> None:
        with hops.client() as client:
            while not over.wait(0.05):
                try:
                    body = json.dumps({"model": "m"})
                    answered[client.post("/v1/completions", content=body).status_code] += 1
                    answered[client.get("/api/config").status_code] += 1
                except httpx.HTTPError as error:
                    answered[repr(error)] += 1

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(ask)
        try:
            yield answered
        finally:
            over.set()


def test_the_web_ui_is_found_again_after_it_was_replaced(hops: Hops) -> None:
    """Another container has another address."""
    docker("restart", "--time", "1", WEB_UI)

    def is_back() -> bool:
        with hops.client() as client:
            return client.get("/api/config").status_code == 200

    wait_until(is_back)


def test_no_port_of_the_services_is_published(hops: Hops) -> None:
    for tier in (Tier.ROUTER, Tier.WEB_UI):
        for unit in hops.artefacts.stack.tier(tier):
            assert all(address == "127.0.0.1" for address, _ in unit.runs.listens)
    assert not answers(f"http://{bridge()}:4000/v1/models")
