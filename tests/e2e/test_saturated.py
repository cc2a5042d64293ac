"""A vLLM that is saturated all the time is never taken to hang: `make test-saturated MINUTES=60`.

Five times as many clients as it answers at once, through the router, among them some whose prompts
fill the context; it is watched as strictly as can be declared. What it says of itself is read every
second by another route than the watch's. Most tokens are not streamed: the router takes longer for
one that is than the tiny model, and vLLM would wait for the router.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.spec.engine import LEAST_HANG_SECONDS
from tests.e2e.names import CHECKOUT
from tests.e2e.site import MASTER_KEY, Site, free_port, run_converged_site

NAME = f"e2e-saturated-{CHECKOUT}"
WEIGHTS = Path(__file__).parent / "tiny_coder"
MINUTES = float(os.environ.get("E2E_SATURATED_MINUTES", "60"))
SEQS, CLIENTS = 4, 20
START_TIMEOUT_SECONDS = 600
LONG_PROMPT = "def fib(n): return n\n" * 200
ASKED: list[dict[str, Any]] = [
    {"prompt": "def fib(n):", "max_tokens": 100, "stream": True},
    {"prompt": LONG_PROMPT, "max_tokens": 100},
    {"prompt": "def fib(n):", "max_tokens": 800},
]


@dataclass
class Seen:
    """What became of the requests, and how the engine moved meanwhile."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    looks: int = 0
    full_looks: int = 0
    """At which requests waited although as many ran as can."""
    longest_still_seconds: float = 0.0
    tokens: float = 0.0
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    timeout = {"start_timeout_seconds": START_TIMEOUT_SECONDS}
    own = {"hang_seconds": LEAST_HANG_SECONDS, "offline": True, "enforce_eager": True}
    settings = {
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "models": [{"name": "tiny-coder", "weights": str(WEIGHTS), "max_num_seqs": SEQS}],
        "engine": {"kind": "vllm", **own, **timeout},
        "router": {"port": free_port(), **timeout},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }
    with run_converged_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        yield site


def ask_all_the_time(site: Site, seen: Seen, first: int) -> None:
    """One client: a request after the other, none of them twice."""
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    own: Any = {"headers": headers, "timeout": 600, "trust_env": False}
    with httpx.Client(base_url=site.router_url, **own) as http:
        for number in itertools.count(first):
            if seen.stopped.is_set():
                return
            asked = ASKED[number % len(ASKED)]
            body = {"model": "tiny-coder", "ignore_eos": True} | asked
            body["prompt"] = f"# {first} {number}\n{asked['prompt']}"
            failure = failure_of(http, body)
            with seen.lock:
                seen.answered += not failure
                seen.failures += [failure] if failure else []


def failure_of(http: httpx.Client, body: dict[str, Any]) -> str:
    """What is wrong with an answer; empty for nothing."""
    try:
        reply = http.post("/v1/completions", json=body)
    except httpx.HTTPError as error:
        return f"{type(error).__name__} {error}"
    if reply.status_code != 200 or '"error"' in reply.text:
        return f"{reply.status_code} {reply.text[:300]}"
    whole = not body.get("stream") or reply.text.rstrip().endswith("data: [DONE]")
    return "" if whole else "the stream was cut"


def look(site: Site, seen: Seen) -> None:
    """Read the engine's metrics every second, at its address in the deployment's network."""
    container = site.container("vllm-tiny-coder")
    address = container.attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"]
    before, since = "", time.monotonic()
    while not seen.stopped.wait(1):
        try:
            reply = httpx.get(f"http://{address}:8000/metrics", timeout=60, trust_env=False)
        except httpx.HTTPError as error:
            seen.failures.append(f"metrics: {type(error).__name__}")
            return
        now = time.monotonic()
        figures = {
            name: sum(map(float, re.findall(rf"^vllm:{name}{{.*}} (\S+)$", reply.text, re.M)))
            for name in ("num_requests_running", "num_requests_waiting", "generation_tokens_total",
                         "prompt_tokens_total", "kv_cache_usage_perc")
        }  # fmt: skip
        full = figures["num_requests_running"] >= SEQS and figures["num_requests_waiting"] > 0
        seen.looks, seen.full_looks = seen.looks + 1, seen.full_looks + full
        seen.tokens = figures["generation_tokens_total"] + figures["prompt_tokens_total"]
        if str(figures) != before:
            before, since = str(figures), now
        seen.longest_still_seconds = max(seen.longest_still_seconds, now - since)


@pytest.mark.timeout(60 * MINUTES + 1800)
def test_a_saturated_engine_is_never_started_again(site: Site) -> None:
    seen = Seen()
    threads = [
        threading.Thread(target=ask_all_the_time, args=(site, seen, 1000 * number), daemon=True)
        for number in range(CLIENTS)
    ]
    threads.append(threading.Thread(target=look, args=(site, seen), daemon=True))
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60 * MINUTES
    while time.monotonic() < deadline and not seen.failures:
        time.sleep(1)
    seen.stopped.set()
    for thread in threads:
        thread.join()
    sys.stderr.write(
        f"\n{MINUTES:g} minutes, {CLIENTS} clients on {SEQS} places: {seen.answered} answered,"
        f" {len(seen.failures)} failed, {seen.tokens:.0f} tokens; saturated at {seen.full_looks}"
        f" of {seen.looks} looks; never still for longer than {seen.longest_still_seconds:.1f} s;"
        f" hang_seconds {LEAST_HANG_SECONDS}\n"
    )
    assert seen.failures == []
    assert seen.full_looks > 0.8 * seen.looks
    container = site.container("vllm-tiny-coder")
    assert container.attrs["RestartCount"] == 0
    assert "this engine hangs" not in container.logs().decode()
