"""A steady load of clients that never send a request twice."""

from __future__ import annotations

import csv
import ssl
import threading
from collections.abc import Callable, Iterator
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

ASK_ENTRY = "exec 3<>/dev/tcp/127.0.0.1/9999; echo show stat router 4 -1 >&3; cat <&3"
"""What bash in the entry's container asks HAProxy with, of its routers."""


def router_states(said: str) -> dict[str, str]:
    """Which state HAProxy says that each router is in."""
    rows = csv.DictReader(said.strip().removeprefix("# ").splitlines())
    return {row["svname"]: row["status"] for row in rows}


@dataclass
class Load:
    """What became of the requests."""

    base_url: str
    key: str
    model: str
    verify: ssl.SSLContext | bool = True
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, first: int) -> None:
        """One client: a request after the other, each of another kind."""
        headers = {"Authorization": f"Bearer {self.key}"}
        options: Any = {"verify": self.verify, "trust_env": False, "timeout": 300}
        with httpx.Client(base_url=self.base_url, headers=headers, **options) as http:
            number = first
            while not self.stopped.is_set():
                path, body = REQUESTS[number % len(REQUESTS)]
                self.count(self.ask(http, path, body))
                number += 1
                self.stopped.wait(0.05)

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
    """Clients that ask all the time; gives a function that waits for so many more answers."""
    threads = [threading.Thread(target=load.client, args=(i,), daemon=True) for i in range(clients)]

    def wait_for(more: int) -> None:
        wanted = load.answered + more
        while load.answered < wanted and not load.failures:
            load.stopped.wait(0.1)

    for thread in threads:
        thread.start()
    try:
        yield wait_for
    finally:
        load.stopped.set()
        for thread in threads:
            thread.join()
