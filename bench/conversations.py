"""How much of a conversation's prompts two replicas find in their caches; see docs/routing.md.

Run: python -m bench.conversations

Two llama.cpp with a tiny model, deployed on this machine with one LiteLLM. The same conversations
are held twice: through the router, and past it with a replica by chance for each request.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.site import MASTER_KEY, Site, run_converged_site, settings_here

NAME, MODEL = "bench-conversations", "tiny-coder"
CONVERSATIONS, TURNS, AT_ONCE = 32, 6, 4
SYSTEM = "You are a coding assistant. " * 10
QUESTION = "The quick brown fox jumps over the lazy dog. " * 24
MORE = "more words follow here. " * 6

Message = dict[str, str]


@dataclass(frozen=True)
class Server:
    """What answers: the router, or an engine."""

    url: str
    key: str

    def ask(self, messages: list[Message]) -> dict[str, Any]:
        """The answer to a conversation.

        Raises:
            httpx.HTTPStatusError: if there is none.
        """
        reply = httpx.post(
            f"{self.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {self.key}"},
            json={"model": MODEL, "messages": messages, "max_tokens": 8},
            timeout=120,
        )
        reply.raise_for_status()
        answer: dict[str, Any] = reply.json()
        return answer

    def tokens_read(self) -> int:
        """Tokens of prompts that an engine has read, and not found in its cache."""
        headers = {"Authorization": f"Bearer {self.key}"}
        text = httpx.get(f"{self.url}/metrics", headers=headers, timeout=30).text
        name = "llamacpp:prompt_tokens_total "
        [line] = [row for row in text.splitlines() if row.startswith(name)]
        return int(float(line.removeprefix(name)))


def converse(topic: str, choose: Callable[[], Server]) -> int:
    """Hold a conversation, in which all is said again each time; returns tokens of its prompts."""
    said = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"{topic}: {QUESTION}"},
    ]
    tokens = 0
    for turn in range(TURNS):
        answer = choose().ask(said)
        tokens += answer["usage"]["prompt_tokens"]
        said.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        said.append({"role": "user", "content": f"and then {turn}? {MORE}"})
    return tokens


def hold_all(way: str, engines: list[Server], choose: Callable[[], Server]) -> tuple[int, int]:
    """Hold all conversations; returns tokens of their prompts, and how many the engines read."""
    before = sum(engine.tokens_read() for engine in engines)
    topics = [f"{way} {number}" for number in range(CONVERSATIONS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = sum(pool.map(converse, topics, [choose] * CONVERSATIONS))
    return asked, sum(engine.tokens_read() for engine in engines) - before


def _engine(site: Site, index: int) -> Server:
    attributes = site.client.containers.get(f"{NAME}-llama-cpp-{MODEL}-{index}").attrs
    # a variable without a value is one that is not set
    variables = dict(row.split("=", 1) for row in attributes["Config"]["Env"] if "=" in row)
    address = attributes["NetworkSettings"]["Networks"][NAME]["IPAddress"]
    return Server(f"http://{address}:8080", variables["LLAMA_API_KEY"])


def main(directory: Path) -> None:
    """Deploy, measure, remove."""
    settings = settings_here(NAME, directory / "host")
    settings["models"] = [{"name": MODEL, "replicas": 2}]
    with run_converged_site(NAME, directory, settings) as site:
        engines = [_engine(site, index) for index in (0, 1)]
        router = Server(site.router_url, MASTER_KEY)
        by_chance = random.Random(0)  # noqa: S311 - not a secret
        ways: dict[str, Callable[[], Server]] = {
            "any replica": lambda: by_chance.choice(engines),
            "the router": lambda: router,
        }
        for way, choose in ways.items():
            asked, read = hold_all(way, engines, choose)
            share = f"{1 - read / asked:.1%} of {asked:,} tokens found in a cache"
            sys.stdout.write(f"{way}: {share}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
