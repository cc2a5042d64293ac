"""The router and two replicas: what OpenAI's own client gets, what one client does to others."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from docker.models.containers import Container
from openai import APIStatusError, OpenAI

from tests.e2e.names import CHECKOUT
from tests.e2e.site import MASTER_KEY, Site, run_converged_site, settings_here

NAME = f"e2e-router-{CHECKOUT}"
MODEL = "tiny-coder"
STREAM_TIMEOUT_SECONDS = 15
PING: list[Any] = [{"role": "user", "content": "ping"}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
READ: Any = {
    "type": "function",
    "function": {"name": "read", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = settings_here(NAME, tmp_path_factory.mktemp("host"))
    settings["models"] = [{"name": MODEL, "replicas": 2}]
    settings["router"]["stream_timeout_seconds"] = STREAM_TIMEOUT_SECONDS
    with run_converged_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        yield site


@pytest.fixture(scope="module")
def client(site: Site) -> OpenAI:
    return OpenAI(base_url=f"{site.router_url}/v1", api_key=MASTER_KEY, max_retries=0, timeout=60)


def engine(site: Site, index: int) -> Container:
    return site.client.containers.get(f"{NAME}-llama-cpp-{MODEL}-{index}")


def engine_key(site: Site) -> str:
    variables: list[str] = engine(site, 0).attrs["Config"]["Env"]
    return dict(line.split("=", 1) for line in variables if "=" in line)["LLAMA_API_KEY"]


@pytest.fixture(scope="module")
def straight(site: Site) -> OpenAI:
    """A client of an engine, past the router."""
    address = engine(site, 0).attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"]
    key = engine_key(site)
    return OpenAI(base_url=f"http://{address}:8080/v1", api_key=key, max_retries=2, timeout=60)


def complete(client: OpenAI, **more: Any) -> Any:
    settings: Any = {"prompt": "def fib(n):", "max_tokens": 8, "temperature": 0} | more
    return client.completions.create(model=MODEL, **settings)


def chat(client: OpenAI, **more: Any) -> Any:
    settings: Any = {"messages": PING, "max_tokens": 8, "temperature": 0} | more
    return client.chat.completions.create(model=MODEL, **settings)


# everything that the router offers, with OpenAI's own client


@pytest.mark.parametrize(
    "more",
    [{}, {"suffix": "return a"}, {"n": 2}, {"logprobs": 2}, {"prompt": ["def a(", "def b("]}],
    ids=str,
)
def test_completions(client: OpenAI, straight: OpenAI, more: dict[str, Any]) -> None:
    def texts(of: OpenAI) -> list[Any]:
        return [(c.index, c.text, c.logprobs) for c in complete(of, **more).choices]

    assert texts(client) == texts(straight)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"suffix": "return a"},
        {"n": 2},
        {"logprobs": 2},
        {"stream_options": {"include_usage": True}},
    ],
    ids=str,
)
def test_streamed_completions(client: OpenAI, straight: OpenAI, more: dict[str, Any]) -> None:
    def parts(of: OpenAI) -> list[Any]:
        rows = [
            (choice.index, choice.text, choice.logprobs, choice.finish_reason)
            for part in complete(of, stream=True, **more)
            for choice in part.choices
        ]
        # those of several choices come in any order
        return sorted(rows, key=lambda row: row[0])

    assert parts(client) == parts(straight)
    assert all(isinstance(text, str) for _, text, _, _ in parts(client))


def test_a_streamed_completion_says_what_it_used(client: OpenAI) -> None:
    stream = complete(client, stream=True, stream_options={"include_usage": True})
    assert [part.usage.completion_tokens for part in stream if part.usage] == [8]


def test_chats(client: OpenAI) -> None:
    assert chat(client).choices[0].message.content == "pong"
    assert [choice.message.content for choice in chat(client, n=2).choices] == ["pong", "pong"]
    tokens = chat(client, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert [len(token.top_logprobs) for token in tokens][:3] == [2, 2, 2]
    assert chat(client, tools=[READ]).choices[0].message.content == "pong"
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert chat(client, response_format=wanted).choices[0].message.content


@pytest.mark.parametrize("more", [{}, {"tools": [READ]}, {"logprobs": True}], ids=str)
def test_streamed_chats(client: OpenAI, more: dict[str, Any]) -> None:
    parts = list(chat(client, stream=True, **more))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "pong"
    assert parts[-1].choices[0].finish_reason == "stop"


def test_responses(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="ping", max_output_tokens=8)
    assert answer.output_text == "pong"
    events: Any = client.responses.create(
        model=MODEL, input="ping", max_output_tokens=8, stream=True
    )
    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_messages(site: Site) -> None:
    """Anthropic's API."""
    body = {"model": MODEL, "max_tokens": 8, "messages": PING}
    headers = {"Authorization": f"Bearer {MASTER_KEY}", "anthropic-version": "2023-06-01"}
    url = f"{site.router_url}/v1/messages"
    answer = httpx.post(url, headers=headers, json=body, timeout=60)
    assert answer.json()["content"] == [{"type": "text", "text": "pong"}]
    streamed = httpx.post(url, headers=headers, json=body | {"stream": True}, timeout=60).text
    assert "event: message_start" in streamed
    assert "event: message_stop" in streamed


# one client's requests, and the others


def post(site: Site, path: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    url = f"{site.router_url}/v1/{path}"
    return httpx.post(url, headers=headers, json={"model": MODEL} | body, timeout=120)


def saying(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


IMAGE = saying([{"type": "image_url", "image_url": {"url": PIXEL}}])
REFERENCE = {"name": "a", "schema": {"$ref": "#/nowhere"}}
BAD: dict[str, tuple[str, dict[str, Any], int]] = {
    "an image": ("chat/completions", IMAGE, 400),
    "an image, streamed": ("chat/completions", IMAGE | {"stream": True}, 400),
    "an image by messages": (
        "messages",
        saying([{"type": "image", "source": {"type": "url", "url": PIXEL}}]) | {"max_tokens": 4},
        400,
    ),
    "embeddings": ("embeddings", {"input": "x"}, 400),
    "making images": ("images/generations", {"prompt": "x"}, 404),
    "unknown tools": ("chat/completions", saying("x") | {"tools": [{"type": "web_search"}]}, 400),
    "no grammar": (
        "chat/completions",
        saying("x") | {"response_format": {"type": "json_schema", "json_schema": REFERENCE}},
        400,
    ),
    "a long prompt": ("chat/completions", saying("word " * 9000), 400),
    "a long prompt, streamed": ("completions", {"prompt": "word " * 9000, "stream": True}, 400),
    "a wrong type": ("chat/completions", saying("x") | {"temperature": "hot"}, 400),
    "a wrong prompt": ("completions", {"prompt": {"a": 1}}, 400),
    "a large n": ("chat/completions", saying("x") | {"n": 1000}, 400),
    "a time-out of its own": (
        "chat/completions",
        saying("x") | {"timeout": 0.0001, "max_tokens": 64},
        200,
    ),
    "a key of its own": (
        "chat/completions",
        saying("x") | {"headers": {"Authorization": "Bearer wrong"}, "max_tokens": 4},
        200,
    ),
    "another key of its own": (
        "completions",
        {"prompt": "x", "api_key": "wrong", "max_tokens": 4},
        200,
    ),
    "another kind of engine": (
        "chat/completions",
        saying("x") | {"custom_llm_provider": "anthropic", "max_tokens": 4},
        200,
    ),
}
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", saying("ping") | {"max_tokens": 4}),
    ("completions", {"prompt": "def fib(n):", "max_tokens": 4, "stream": True}),
    ("chat/completions", saying("ping") | {"max_tokens": 4, "stream": True}),
]


def fresh(body: dict[str, Any], number: int) -> dict[str, Any]:
    """The same in a conversation of its own, which may be any replica's."""
    if "prompt" in body:
        return body | {"prompt": f"# {number}\n{body['prompt']}"}
    return body | saying(f"ping {number}")


def answered(reply: httpx.Response) -> bool:
    return reply.status_code == 200 and '"error"' not in reply.text


def test_bad_requests_take_nothing_from_the_others(site: Site) -> None:
    """One request in ten is bad, of every kind; all others are answered."""
    good = itertools.cycle(GOOD)
    requests: list[tuple[str, str, dict[str, Any]]] = []
    for kind, (path, body, _) in BAD.items():
        requests += [("", *next(good)) for _ in range(9)]
        requests.append((kind, path, body))

    def send(request: tuple[str, str, dict[str, Any]]) -> tuple[str, httpx.Response]:
        kind, path, body = request
        return kind, post(site, path, body)

    before = len(log(site))
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(send, requests))
    assert [reply.text for kind, reply in replies if not kind and not answered(reply)] == []
    found = {kind: (reply.status_code, reply.text) for kind, reply in replies if kind}
    wrong = {kind: found[kind] for kind, (*_, status) in BAD.items() if found[kind][0] != status}
    assert wrong == {}
    assert "left out" not in log(site)[before:]


def test_an_error_of_a_client_names_what_the_model_cannot_do(client: OpenAI) -> None:
    with pytest.raises(APIStatusError) as refused:
        client.embeddings.create(model=MODEL, input="x")
    assert refused.value.status_code == 400
    assert f"model {MODEL} cannot do this" in refused.value.message
    assert "does not support embeddings" in refused.value.message


# conversations

TURNS = 4
LONG = "The quick brown fox jumps over the lazy dog. " * 8


def tokens_read(site: Site) -> list[int]:
    """Tokens of prompts that each replica has read, and not found in its cache."""
    found = []
    for index in (0, 1):
        address = engine(site, index).attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"]
        headers = {"Authorization": f"Bearer {engine_key(site)}"}
        text = httpx.get(f"http://{address}:8080/metrics", headers=headers, timeout=30).text
        [line] = [row for row in text.splitlines() if row.startswith("llamacpp:prompt_tokens_tot")]
        found.append(int(float(line.split()[1])))
    return found


def converse(client: OpenAI, topic: str) -> int:
    """A conversation in which everything said before is said again; returns tokens of prompts."""
    said, tokens = [{"role": "user", "content": f"{topic}: {LONG}"}], 0
    for turn in range(TURNS):
        answer = chat(client, messages=said, max_tokens=4)
        tokens += answer.usage.prompt_tokens
        said.append({"role": "assistant", "content": answer.choices[0].message.content})
        said.append({"role": "user", "content": f"and {turn}?"})
    return tokens


def test_a_conversation_stays_with_its_replica(site: Site, client: OpenAI) -> None:
    used = set()
    for topic in range(10):
        before = tokens_read(site)
        asked = converse(client, f"topic {topic}")
        read = [now - then for now, then in zip(tokens_read(site), before, strict=True)]
        assert min(read) == 0, "one of them read nothing"
        assert max(read) < asked / 2, "it knew most of what it had read before"
        used.add(read.index(max(read)))
    assert used == {0, 1}, "conversations are spread"


# engines that fail


def log(site: Site) -> str:
    output: bytes = site.container("litellm").logs()
    return output.decode()


def ask_until(site: Site, enough: Callable[[], bool]) -> list[httpx.Response]:
    """Ask of every kind, all the time, for two minutes at most; returns the answers."""
    deadline, replies = time.monotonic() + 120, []
    numbers = itertools.count()
    while not enough() and time.monotonic() < deadline:
        replies += [post(site, path, fresh(body, next(numbers))) for path, body in GOOD]
    return replies


def failures(replies: list[httpx.Response]) -> list[str]:
    assert replies
    return [reply.text for reply in replies if not answered(reply)]


def test_a_dead_replica_is_left_out_and_comes_back(site: Site) -> None:
    before, name = len(log(site)), engine(site, 1).name

    def says(what: str) -> bool:
        return f"{name} {what}" in log(site)[before:]

    engine(site, 1).kill()
    try:
        assert failures(ask_until(site, lambda: says("left out"))) == []
        assert says("left out")
        assert failures([post(site, path, body) for path, body in GOOD * 2]) == []
    finally:
        engine(site, 1).start()
    assert failures(ask_until(site, lambda: says("answers again"))) == []
    assert says("answers again")


def test_a_hung_replica_is_hidden_and_a_hung_model_names_the_setting(site: Site) -> None:
    path, body = GOOD[2]
    engine(site, 0).pause()
    try:
        assert failures([post(site, path, body) for path, body in GOOD[1:]]) == []
        engine(site, 1).pause()
        try:
            reply = post(site, path, body)
        finally:
            engine(site, 1).unpause()
    finally:
        engine(site, 0).unpause()
    assert reply.status_code == 504
    assert reply.json()["error"]["message"].startswith("router.stream_timeout_seconds: ")
    assert answered(post(site, path, body))


def test_the_log_holds_no_key(site: Site) -> None:
    """After all of the above."""
    written = log(site)
    assert MASTER_KEY not in written
    assert engine_key(site) not in written
