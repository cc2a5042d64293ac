"""A model that Ollama has put on the CPU although a GPU is declared."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.live.checks import Check
from deploy.live.verify import verify
from tests.conftest import MakeArtefacts
from tests.serving import running

MODEL = "qwen2.5-coder:7b-instruct-q4_K_M"
# what Ollama 0.34.0 answered on a machine without GPUs, but for the model's name
LOADED: dict[str, Any] = {
    "name": MODEL,
    "model": MODEL,
    "size": 8336178,
    "digest": "27801df173db0971f9a13e2c9414ddbec9dce232d88c867d075eaa9b46a21e2c",
    "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "qwen2",
        "families": ["qwen2"],
        "parameter_size": "789K",
        "quantization_level": "Q8_0",
    },
    "expires_at": "2319-03-05T18:23:52.803580441Z",
    "size_vram": 0,
    "context_length": 2048,
}
CHAT = 'data: {"choices": [{"delta": {"content": "pong"}}]}\n\ndata: [DONE]\n\n'
Ask = Callable[..., dict[str, Check]]


class Answers(BaseHTTPRequestHandler):
    """Answers everything with 200."""

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[Answers]) -> Iterator[str]:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def ollama_with(*models: list[dict[str, Any]]) -> Iterator[str]:
    """Something that chats and says what is loaded: these, one after the other, then the last."""
    left = list(models)

    class Handler(Answers):
        def do_GET(self) -> None:
            if self.path != "/api/ps":
                self.answer("{}")
                return
            self.answer(json.dumps({"models": left[0] if len(left) == 1 else left.pop(0)}))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(CHAT)

    with serving(Handler) as url:
        yield url


@pytest.fixture
def ask(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Verify a deployment of Ollama in which these models are loaded."""

    def _ask(*loaded: dict[str, Any], **settings: Any) -> dict[str, Check]:
        declared: dict[str, Any] = {
            "hosts": [{"name": "@local", "gpus": "1x rtx-4090"}],
            "engine": {"kind": "ollama"},
            "models": [{"name": "qwen2.5-coder-7b", "roles": ["chat"]}],
            "web_ui": None,
        }
        artefacts = make(**declared | settings)
        with ollama_with(list(loaded)) as url:
            monkeypatch.setattr("deploy.live.verify.connect", fake_connect(artefacts, url))
            return {check.name: check for check in verify(artefacts)}

    return _ask


def fake_connect(artefacts: Artefacts, url: str) -> Callable[..., Any]:
    networks = {artefacts.plan.name: {"IPAddress": "172.18.0.2"}}
    container = SimpleNamespace(attrs={"NetworkSettings": {"Networks": networks}})
    client = SimpleNamespace(containers=SimpleNamespace(get=lambda _: container))

    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(client=client, addresses={}, reach=lambda *_: url)

    return connect


def engine_check(checks: Mapping[str, Check]) -> Check:
    return checks["engine qwen2.5-coder-7b"]


def test_a_model_on_its_gpu(ask: Ask) -> None:
    check = engine_check(ask(LOADED | {"size": 6 * 1024**3, "size_vram": 6 * 1024**3}))
    assert check.ok
    assert check.detail.endswith("on its GPU: all of it, 6.0 GiB")


def test_a_model_on_the_cpu(ask: Ask) -> None:
    check = engine_check(ask(LOADED))
    assert not check.ok
    assert check.detail.startswith(f"{MODEL}: runs on the CPU\n    allowed: on the declared GPU")
    for way_out in ("container toolkit", "cgroupfs", "restart the container"):
        assert way_out in check.detail


def test_a_model_that_is_partly_on_the_cpu(ask: Ask) -> None:
    check = engine_check(ask(LOADED | {"size": 8_000_000, "size_vram": 6_000_000}))
    assert not check.ok
    assert "25 % of it on the CPU" in check.detail
    assert "smaller max_model_len" in check.detail


def test_a_model_that_is_not_loaded(ask: Ask) -> None:
    check = engine_check(ask(LOADED | {"model": "another:latest"}))
    assert not check.ok
    assert "is not loaded" in check.detail


@pytest.mark.parametrize(
    "settings",
    [{"hosts": [{"name": "@local"}]}, {"engine": {"kind": "ollama", "keep_alive": "0"}}],
    ids=["no GPU is declared", "it goes at once"],
)
def test_where_it_runs_is_not_asked(ask: Ask, settings: dict[str, Any]) -> None:
    checks = ask(LOADED, **settings)
    assert engine_check(checks).ok
    assert "GPU" not in engine_check(checks).detail


def test_a_model_for_chat_alone_is_not_asked_to_complete(ask: Ask) -> None:
    assert set(ask(LOADED | {"size_vram": 8336178})) == {
        "engine qwen2.5-coder-7b",
        "router qwen2.5-coder-7b chat",
        "router qwen2.5-coder-7b streamed chat",
    }


WHOLE = LOADED | {"size": 6 * 1024**3, "size_vram": 6 * 1024**3}
OTHER = WHOLE | {"name": "other:latest", "model": "other:latest"}


@pytest.mark.parametrize(("before", "ok"), [(0, True), (1, True), (2, True), (3, False)])
def test_a_model_whose_place_another_has_taken_is_asked_again(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, before: int, ok: bool
) -> None:
    """Of a shared Ollama; it answers all the same."""
    artefacts = make(
        hosts=[{"name": "@local", "gpus": "1x rtx-4090"}],
        engine={"kind": "ollama", "shared": "desk"},
        models=[{"name": "qwen2.5-coder-7b", "roles": ["chat"]}],
        web_ui=None,
    )
    with ollama_with(*[[OTHER]] * before, [WHOLE]) as url:
        monkeypatch.setattr("deploy.live.verify.connect", fake_connect(artefacts, url))
        check = engine_check({each.name: each for each in verify(artefacts)})
    assert check.ok
    assert ("on its GPU: all of it" in check.detail) is ok
    assert ("unloaded for another model each time" in check.warning) is not ok


def test_a_model_alone_that_is_not_loaded_is_an_error(ask: Ask) -> None:
    check = engine_check(ask(OTHER))
    assert not check.ok
    assert "is not loaded although it has just answered" in check.detail


@contextmanager
def ollama_in_turn(loads: list[str]) -> Iterator[str]:
    """An Ollama that has one model loaded, and the router before it; a load takes a while."""
    one_at_a_time = threading.Lock()

    class Handler(Answers):
        def do_GET(self) -> None:
            self.answer(json.dumps({"models": []}))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with one_at_a_time:
                # as Ollama calls it, or as the router does
                size = re.findall(r"\d+b", asked["model"])[0]
                if loads[-1:] != [size]:
                    time.sleep(0.05)
                    loads.append(size)
            if asked.get("stream"):
                self.answer(CHAT)
            else:
                self.answer(json.dumps({"choices": [{"message": {"content": "pong"}}]}))

    with serving(Handler) as url:
        yield url


def test_models_in_turn_are_asked_one_after_the_other(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each question waits for the loads of all others, longer than an answer may take."""
    models = [{"name": f"qwen2.5-coder-{size}", "roles": ["chat"]} for size in ("14b", "7b")]
    engine = {"kind": "ollama", "shared": "desk"}
    artefacts = make(engine=engine, models=models, web_ui=None)
    loads: list[str] = []
    with ollama_in_turn(loads) as url:
        monkeypatch.setattr("deploy.live.verify.connect", fake_connect(artefacts, url))
        checks = list(verify(artefacts))
    assert all(check.ok for check in checks), checks
    assert len(checks) == 6
    assert loads == ["14b", "7b"]
