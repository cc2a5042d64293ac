"""Both ends of a link as containers on this machine: what becomes of a stream, step by step.

The containers are those of a deployment; the engine is a stand-in that sends a part when it is told
to. Deployments between hosts are in test_several_hosts.py.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.changes.live import ENDING
from deploy.images import build_images, make_build_plan
from deploy.scripts import read_script
from deploy.services import ConfigFile, Tier, Unit
from deploy.tls.links import provide_links
from deploy.units import MIB
from tests.conftest import declare
from tests.e2e.hosts import bridge, build_host_image, docker
from tests.e2e.names import NAME
from tests.e2e.site import free_port

DEPLOYMENT = f"{NAME}-links"
ENGINE = f"{DEPLOYMENT}-llama-cpp-tiny-coder-1"
PATIENCE_SECONDS = 120
STAND_IN = """
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

told, asked, ended = threading.Event(), threading.Event(), threading.Event()

class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/stream":
            self.stream()
        elif self.path == "/health":
            self.answer(b"ok")
        elif self.path == "/go":
            told.set()
            self.answer(b"ok")
        else:
            event = asked if self.path == "/asked" else ended
            self.answer(b"yes" if event.wait(100) else b"no")

    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.part(b"first")
        told.wait(100)
        told.clear()
        self.part(b"second")
        self.part(b"")

    def do_POST(self):
        # a prompt that is read for ever: the connection ends when nobody waits any more
        self.rfile.read(int(self.headers["Content-Length"]))
        asked.set()
        try:
            has_ended = self.connection.recv(1) == b""
        except ConnectionError:
            has_ended = True
        if has_ended:
            ended.set()
        self.close_connection = True

    def part(self, data):
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(data), data))
        self.wfile.flush()

    def answer(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

ThreadingHTTPServer(("0.0.0.0", 8080), Engine).serve_forever()
"""


@dataclass
class Link:
    artefacts: Artefacts
    url: str

    @property
    def ends(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.containers if unit.config)

    @property
    def containers(self) -> tuple[Unit, ...]:
        """All that is made here; the ends have their sockets from the listeners."""
        return self.artefacts.stack.tier(Tier.LINK)

    def create(self) -> None:
        self.write()
        for unit in self.containers:
            arguments = unit.create_arguments(
                self.artefacts.plan.name, self.artefacts.secrets.digest
            )
            docker("container", "create", "--name", unit.name, *arguments)
            docker("start", unit.name)

    def remove(self) -> None:
        docker("rm", "--force", *(unit.name for unit in self.containers), check=False)
        volumes = [volume for unit in self.containers for volume in unit.volumes]
        docker("volume", "rm", *volumes, check=False)

    def replace(self, unit: Unit, **differences: object) -> None:
        """Replace a container as a deployment does, by one that differs."""
        other = unit.model_copy(update={"runs": unit.runs.model_copy(update=differences)})
        arguments = (
            *("relieve", unit.name, str(unit.start_timeout_seconds), *unit.runs.create_options),
            *other.create_arguments(self.artefacts.plan.name, self.artefacts.secrets.digest),
        )
        done = subprocess.run(
            ["sh", "-c", read_script("container.sh"), "atelier", *arguments],
            input="",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def write(self) -> None:
        """Files as a deployment writes them: a directory takes the place of the one before."""
        for unit in self.ends:
            assert unit.config
            directory = Path(unit.config.directory)
            new = directory.with_name(".new")
            new.mkdir(parents=True)
            for name, file in unit.config.files.items():
                (new / name).write_text(text_of(file, self.artefacts))
                (new / name).chmod(file.mode)
            shutil.rmtree(directory, ignore_errors=True)
            new.rename(directory)

    def served(self) -> list[str]:
        """Fingerprint of the certificate that HAProxy has, of each end."""
        ask = "exec 3<>/dev/tcp/127.0.0.1/9999; echo show ssl cert {} >&3; cat <&3"
        command = ask.format("link.pem")
        said = [docker("exec", unit.name, "bash", "-c", command, check=False) for unit in self.ends]
        return [found for each in said for found in re.findall("FingerPrint: (.*)", each)]

    def rotate(self) -> None:
        """Give both ends other certificates, and wait until they have them."""
        before, plan, secrets = self.served(), self.artefacts.plan.links, self.artefacts.secrets
        assert plan
        assert secrets.links
        kept = type(secrets.links)(secrets.links.authority, {})
        made = provide_links(kept, DEPLOYMENT, plan.certified, datetime.now(UTC))
        secrets.link_with(made, plan.certified)
        self.write()
        wait_until(lambda: len(self.served()) == 2 and not {*self.served()} & {*before})


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    plans = [make_build_plan(name, load_catalog()) for name in ("haproxy", "python")]
    build_images(plans, report=lambda _line: None)
    home = tmp_path_factory.mktemp("links")
    hosts = [
        {"name": "a", "address": "127.0.0.1", "directory": str(home / "a")},
        {"name": "b", "address": bridge(), "directory": str(home / "b")},
    ]
    spec = declare(
        name=DEPLOYMENT,
        hosts=hosts,
        models=[{"name": "tiny-coder", "replicas": 2}],
        web_ui=None,
        links={"port": free_port()},
        image_source="build",
    )
    made = Link(make_artefacts(spec, home), "")
    try:
        docker("network", "create", DEPLOYMENT)
        image = build_host_image(with_docker=True)
        options = ("--detach", "--init", "--network", DEPLOYMENT, "--name", ENGINE)
        docker("run", *options, image, "python3", "-c", STAND_IN)
        made.create()
        client = next(unit.name for unit in made.containers if unit.host == "a")
        network = f'{{{{(index .NetworkSettings.Networks "{DEPLOYMENT}").IPAddress}}}}'
        made.url = f"http://{docker('inspect', '--format', network, client)}:8080/{ENGINE}"
        wait_until(lambda: answers(f"{made.url}/health"))
        yield made
    finally:
        docker("rm", "--force", ENGINE, check=False)
        made.remove()
        docker("network", "rm", DEPLOYMENT, check=False)


def text_of(file: ConfigFile, artefacts: Artefacts) -> str:
    content = file.content
    return content if isinstance(content, str) else artefacts.secrets.render(content)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PATIENCE_SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_stream_goes_on_while_certificates_are_replaced(link: Link) -> None:
    """Its first part is there before there is a second one."""
    with httpx.stream("GET", f"{link.url}/stream", timeout=PATIENCE_SECONDS) as stream:
        parts = stream.iter_raw()
        assert next(parts) == b"first"
        link.rotate()
        assert httpx.get(f"{link.url}/go", timeout=PATIENCE_SECONDS).text == "ok"
        assert next(parts) == b"second"
        assert list(parts) == []


def test_nobody_notices_that_both_ends_are_replaced(link: Link) -> None:
    """By ones with another memory limit, and back; a stream goes on through those it began in."""
    before = ids(link)
    with asking(f"{link.url}/health") as answered:
        with httpx.stream("GET", f"{link.url}/stream", timeout=PATIENCE_SECONDS) as stream:
            parts = stream.iter_raw()
            assert next(parts) == b"first"
            for unit in link.ends:
                link.replace(unit, memory_bytes=300 * MIB)
            between = ids(link)
            for unit in link.ends:
                link.replace(unit)
            now = ids(link)
            # three of each: the first has the stream
            assert {before[unit.name] for unit in link.ends} < set(now.values())
            assert all(
                len({each[unit.name] for each in (before, between, now)}) == 3 for unit in link.ends
            )
            assert httpx.get(f"{link.url}/go", timeout=PATIENCE_SECONDS).text == "ok"
            assert next(parts) == b"second"
            assert list(parts) == []
        wait_until(lambda: set(ids(link)) == {unit.name for unit in link.containers})
    print(f"answered {answered}")  # noqa: T201 - measured
    assert set(answered) == {200}
    assert answered[200] > 50


def test_new_requests_wait_while_one_that_died_starts_again(link: Link) -> None:
    for unit in link.ends:
        with asking(f"{link.url}/health") as answered:
            # all but the first process, which ends when HAProxy has
            docker("exec", unit.name, "sh", "-c", "kill -9 -1", check=False)
            began = time.monotonic()
            wait_until(lambda: answered[200] > 50)
        print(f"{unit.name}: {answered}, {time.monotonic() - began:.1f} s")  # noqa: T201 - measured
        # those that were being answered just then
        assert answered.total() - answered[200] <= 4


def ids(link: Link) -> dict[str, str]:
    """Of every container of the link, also of those that only end."""
    rows = docker("ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
    found = dict(row.split() for row in rows)
    names = [unit.name for unit in link.containers]
    return {name: found[name] for name in found if name.partition(ENDING)[0] in names}


@contextmanager
def asking(*urls: str) -> Iterator[Counter[int | str]]:
    """Who asks all the time, each time with a connection of its own; what they were answered."""
    answered: Counter[int | str] = Counter()
    over = threading.Event()

    def ask(url: str) -> None:
        while not over.wait(0.05):
            try:
                answered[httpx.get(url, timeout=PATIENCE_SECONDS).status_code] += 1
            except httpx.HTTPError as error:
                answered[repr(error)] += 1

    with ThreadPoolExecutor(4) as pool:
        for url in urls * 4:
            pool.submit(ask, url)
        try:
            yield answered
        finally:
            over.set()


def test_the_engine_notices_that_no_one_waits_any_more(link: Link) -> None:
    url = httpx.URL(link.url)
    with socket.create_connection((url.host, url.port or 0), PATIENCE_SECONDS) as way:
        head = f"POST {url.path}/prompt HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 1\r\n\r\nx"
        way.sendall(head.encode())
        assert httpx.get(f"{link.url}/asked", timeout=PATIENCE_SECONDS).text == "yes"
    assert httpx.get(f"{link.url}/ended", timeout=PATIENCE_SECONDS).text == "yes"


def test_a_replica_that_no_link_leads_to_is_not_asked(link: Link) -> None:
    other = link.url.replace(ENGINE, f"{DEPLOYMENT}-llama-cpp-tiny-coder-0")
    assert httpx.get(f"{other}/health", timeout=PATIENCE_SECONDS).status_code == 503
