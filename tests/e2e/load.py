"""Clients that never send a request twice: a steady load, and streams that last."""

from __future__ import annotations

import csv
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

PING = [{"role": "user", "content": "ping"}]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", {"messages": PING, "max_tokens": 8}),
    ("completions", {"prompt": "def fib(n):", "max_tokens": 48, "stream": True}),
    ("chat/completions", {"messages": PING, "max_tokens": 8, "stream": True}),
    ("completions", {"prompt": "def fib(n):", "max_tokens": 8}),
]
"""Whole answers and streams, of both kinds; temperature 0, so that each answer is known."""

LONG = {"max_tokens": 300, "stream": True, "ignore_eos": True}
"""Lasts for 300 tokens, whatever llama.cpp has to say."""
BEGIN_SECONDS = 120
REPLICA = "x-litellm-model-id"

ASK_ENTRY = "exec 3<>/dev/tcp/127.0.0.1/9999; echo show stat router 4 -1 >&3; cat <&3"
"""What bash in the entry's container asks HAProxy with, of its routers."""

ASK_ENTRY_FOR_WEB_UIS = ASK_ENTRY.replace("router", "web_ui")
"""The same, of its web UIs."""


def router_states(said: str) -> dict[str, str]:
    """Which state HAProxy says that each router is in."""
    return router_figures(said, "status")


def router_figures(said: str, name: str) -> dict[str, str]:
    """What HAProxy says of each router, such as how many requests it answers (``scur``).

    Names: https://docs.haproxy.org/3.0/management.html#9.1
    """
    rows = csv.DictReader(said.strip().removeprefix("# ").splitlines())
    return {row["svname"]: row[name] for row in rows}


@dataclass
class Load:
    """What became of the requests."""

    base_url: str
    key: str
    model: str
    verify: ssl.SSLContext | bool = True
    pause_seconds: float = 0.25
    """Between two requests of a client: what is deployed meanwhile needs the machine, too."""
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    served_by: Counter[str] = field(default_factory=Counter)
    """Answers by the replica that gave them."""
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self) -> httpx.Client:
        """A client of its own."""
        headers = {"Authorization": f"Bearer {self.key}"}
        options: Any = {"verify": self.verify, "trust_env": False, "timeout": 300}
        return httpx.Client(base_url=self.base_url, headers=headers, **options)

    def client(self, first: int) -> None:
        """One client: a request after the other, each of another kind."""
        with self.connect() as http:
            number = first
            while not self.stopped.is_set():
                path, body = REQUESTS[number % len(REQUESTS)]
                self.count(self.ask(http, path, body))
                number += 1
                self.stopped.wait(self.pause_seconds)

    def ask(self, http: httpx.Client, path: str, body: dict[str, Any]) -> str:
        """Send a request once; what is wrong with the answer, empty for nothing."""
        sent = {"model": self.model, "temperature": 0} | body
        try:
            reply = http.post(f"/v1/{path}", json=sent)
        except httpx.HTTPError as error:
            return f"{path}: {type(error).__name__} {error}"
        if reply.status_code != 200 or '"error"' in reply.text:
            return f"{path}: {reply.status_code} {reply.text[:300]}"
        if body.get("stream") and not reply.text.rstrip().endswith("data: [DONE]"):
            return f"{path}: the stream was cut"
        with self.lock:
            self.served_by[reply.headers.get(REPLICA, "")] += 1
        return ""

    def count(self, failure: str) -> None:
        """Count an answer."""
        with self.lock:
            if failure:
                self.failures.append(failure)
            else:
                self.answered += 1


@contextmanager
def steady_load(load: Load, clients: int = 4) -> Iterator[Callable[[int], None]]:
    """Clients that ask all the time; gives a function that waits for so many more answers.

    It does not wait any longer when one more request has failed.
    """
    threads = [threading.Thread(target=load.client, args=(i,), daemon=True) for i in range(clients)]

    def wait_for(more: int) -> None:
        wanted, failed = load.answered + more, len(load.failures)
        while load.answered < wanted and len(load.failures) == failed:
            load.stopped.wait(0.1)

    for thread in threads:
        thread.start()
    try:
        yield wait_for
    finally:
        load.stopped.set()
        for thread in threads:
            thread.join()


@dataclass
class Stream:
    """Somebody who reads a long answer and, if it is cut, goes on with a short one."""

    load: Load
    number: int
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    served_by: str = ""
    failure: str = ""

    @property
    def request(self) -> tuple[str, dict[str, Any]]:
        """Path and body, of a conversation of its own; every other one is a chat."""
        if self.number % 2:
            said = [{"role": "user", "content": f"ping {self.number}"}]
            return "chat/completions", {"messages": said}
        return "completions", {"prompt": f"# {self.number}\ndef fib(n):"}

    def run(self) -> None:
        """Read the answer to its end; ask on at once, whole or streamed, if it was cut."""
        path, body = self.request
        with self.load.connect() as http:
            self.failure = self._read(http, path, body)
            if self.failure:
                more = body | {"max_tokens": 4, "stream": self.number % 4 < 2}
                self.load.count(self.load.ask(http, path, more))
        self.ended.set()

    def _read(self, http: httpx.Client, path: str, body: dict[str, Any]) -> str:
        """What is wrong with the answer, empty for nothing."""
        sent = {"model": self.load.model, "temperature": 0} | body | LONG
        last = ""
        try:
            with http.stream("POST", f"/v1/{path}", json=sent) as reply:
                self.served_by = reply.headers.get(REPLICA, "")
                for line in filter(None, reply.iter_lines()):
                    last = line
                    self.begun.set()
        except httpx.HTTPError as error:
            return f"{path}: {type(error).__name__} {error}"
        return "" if last == "data: [DONE]" else f"{path}: {last}"


@contextmanager
def open_streams(load: Load, count: int) -> Iterator[list[Stream]]:
    """So many streams, of which each has begun; waits for their ends."""
    streams = [Stream(load, number) for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(stream.run) for stream in streams]
        assert all(stream.begun.wait(BEGIN_SECONDS) for stream in streams)
        yield streams
    for each in running:
        each.result()
