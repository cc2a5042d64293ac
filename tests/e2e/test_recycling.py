"""Two routers whose memory grows: each starts again, one at a time, and no request fails."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from docker.models.containers import Container

from tests.e2e.names import CHECKOUT
from tests.e2e.site import (
    MASTER_KEY,
    Settings,
    Site,
    entry_here,
    run_converged_site,
    settings_here,
)

NAME = f"e2e-recycling-{CHECKOUT}"
MODEL = "tiny-coder"
LIMIT_BYTES = 2 * 1024**3
SHARE = 0.6
ABOVE_BYTES = int(SHARE * LIMIT_BYTES)
GROW = f"data = bytearray({ABOVE_BYTES}); data[::4096] = bytes(len(data[::4096]))"
"""More than a router may use."""
KEY = {"Authorization": f"Bearer {MASTER_KEY}"}
LOOK_SECONDS = 30
PAUSE_SECONDS = 0.1
RESTART_SECONDS = 420


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_here(NAME, tmp_path_factory.mktemp("host"))
    settings["router"] |= {"replicas": 2, "memory_limit": LIMIT_BYTES, "recycle_at": SHARE}
    entry = entry_here(requests_per_minute=10_000)
    return settings | {"postgres": {}, "valkey": {}, "entry": entry}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Site]:
    with run_converged_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        yield site


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    printed = site.atelier("ca")
    assert printed.returncode == 0, printed.stderr
    trusting = ssl.create_default_context(cadata=printed.stdout)
    url = f"https://127.0.0.1:{site.settings['entry']['https_port']}"
    with httpx.Client(base_url=url, verify=trusting, timeout=120, trust_env=False) as opened:
        yield opened


def router(site: Site, index: int) -> Container:
    return site.client.containers.get(f"{NAME}-litellm-{index}")


def restarts(site: Site) -> list[int]:
    return [router(site, index).attrs["RestartCount"] for index in (0, 1)]


def health(site: Site, index: int) -> int:
    """What a router answers to the entry's question; 0 where it does not."""
    networks = router(site, index).attrs["NetworkSettings"]["Networks"]
    url = f"http://{networks[NAME]['IPAddress']}:4000/health/liveliness"
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.HTTPError:
        return 0


def grow(site: Site, index: int, seconds: int = RESTART_SECONDS) -> None:
    """Let a router's container use too much memory; what uses it ends with the router."""
    code = f"import time; {GROW}; time.sleep({seconds})"
    router(site, index).exec_run(["python3", "-c", code], detach=True)


def eventually(true: Callable[[], bool], seconds: float = RESTART_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@dataclass
class Asking:
    """Requests through the entry, all the time, with bodies larger than it keeps."""

    site: Site
    client: httpx.Client
    stop: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    both_away: list[list[int]] = field(default_factory=list)
    """What both routers said when neither was healthy."""

    def ask(self, stream: bool) -> None:
        for number in itertools.count():
            if self.stop.wait(PAUSE_SECONDS):
                return
            said = [{"role": "user", "content": f"ping {number}"}]
            body = {"model": MODEL, "messages": said, "max_tokens": 8, "stream": stream}
            large = json.dumps(body) + " " * 100_000
            headers = KEY | {"Content-Type": "application/json"}
            try:
                reply = self.client.post("/v1/chat/completions", content=large, headers=headers)
            except httpx.HTTPError as error:
                self.wrong.append(repr(error))
                continue
            self.answered += 1
            if reply.status_code != 200 or '"error"' in reply.text:
                self.wrong.append(reply.text)

    def watch(self) -> None:
        while not self.stop.wait(0.2):
            seen = [health(self.site, index) for index in (0, 1)]
            if 200 not in seen:
                self.both_away.append(seen)

    @contextmanager
    def all_the_time(self) -> Iterator[None]:
        with ThreadPoolExecutor() as pool:
            done = [pool.submit(self.ask, stream) for stream in (False, True)]
            done.append(pool.submit(self.watch))
            try:
                yield
            finally:
                self.stop.set()
        for each in done:
            each.result()


def test_routers_start_again_one_at_a_time_and_no_request_fails(
    site: Site, client: httpx.Client
) -> None:
    before, asking = restarts(site), Asking(site, client)
    with asking.all_the_time():
        for index in (0, 1):
            grow(site, index)
        assert eventually(lambda: restarts(site) == [count + 1 for count in before])
        for index in (0, 1):
            assert eventually(lambda: health(site, index) == 200)  # noqa: B023 - asked at once
        time.sleep(5)
    assert asking.wrong == []
    assert asking.answered > 20
    assert asking.both_away == []
    for index in (0, 1):
        assert b"MiB of memory in use: starting again" in router(site, index).logs()
        assert router(site, index).attrs["State"]["OOMKilled"] is False


def test_status_says_so(site: Site) -> None:
    shown = site.atelier("status", "--json")
    rows = {row["service"]: row["restarts"] for row in json.loads(shown.stdout)["services"]}
    assert rows[f"{NAME}-litellm-0"]["count"] == restarts(site)[0] > 0
    assert rows[f"{NAME}-postgres-0"] == {
        "count": 0,
        "exit_status": None,
        "out_of_memory": False,
    }
    assert "restarted: " in site.atelier("status").stdout


def test_a_router_that_could_not_start_does_not_end(site: Site) -> None:
    """While the database is away it serves on; it starts again afterwards."""
    key = new_key(site)
    assert ask_router(site, 0, key) == 200
    before, store = restarts(site), site.container("postgres")
    store.stop()
    try:
        # LiteLLM knows a key for a minute after it has looked it up, and its master key for ever
        assert ask_router(site, 0, key) == 200
        grow(site, 0)
        until = time.monotonic() + 2 * LOOK_SECONDS + 5
        while time.monotonic() < until:
            assert ask_router(site, 0, MASTER_KEY) == 200
            time.sleep(1)
        assert restarts(site) == before
    finally:
        store.start()
    assert eventually(lambda: restarts(site)[0] == before[0] + 1)
    assert eventually(lambda: health(site, 0) == 200)
    assert ask_router(site, 0, key) == 200


def new_key(site: Site) -> str:
    reply = httpx.post(f"{site.router_url}/key/generate", headers=KEY, json={}, timeout=60)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["key"])


def ask_router(site: Site, index: int, key: str) -> int:
    networks = router(site, index).attrs["NetworkSettings"]["Networks"]
    url = f"http://{networks[NAME]['IPAddress']}:4000/v1/chat/completions"
    body: Any = {"model": MODEL, "messages": [{"role": "user", "content": "ping"}]}
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(url, headers=headers, json=body | {"max_tokens": 4}, timeout=60).status_code
