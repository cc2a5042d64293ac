"""Temporary and kept chats of the web UI, asked as browsers ask, at one that is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.live.privacy import browsers
from deploy.live.privacy.doors import Door
from deploy.live.privacy.look import WebUI
from deploy.live.privacy.needles import Mark, Needles
from tests.serving import QuietHandler, running


@dataclass
class MadeUp:
    """Answers as Open WebUI does; a task is seen in so many looks."""

    looks: int = 2
    received: list[tuple[str, Any]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    door: Door = field(init=False)

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        self.received.append((path, body))
        if path == "/api/tasks":
            seen = [task for task, left in self.left.items() if left]
            self.left = {task: max(left - 1, 0) for task, left in self.left.items()}
            return 200, {"tasks": seen}
        if path.startswith("/api/tasks/stop/"):
            self.left[path.rsplit("/", 1)[-1]] = 0
            return 200, {"status": True}
        task = f"task{len(self.left)}"
        self.left[task] = self.looks
        chat = body.get("chat_id") or "new-chat"
        return 200, {"status": True, "task_ids": [task], "chat_id": chat}

    @property
    def chats(self) -> list[Any]:
        return [body for path, body in self.received if path == "/api/chat/completions"]


@pytest.fixture
def web_ui(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUp]:
    monkeypatch.setattr(browsers, "LOOK_SECONDS", 0.01)
    made_up = MadeUp()

    class Handler(QuietHandler):
        def answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path if self.command != "DELETE" else f"DELETE {self.path}"
            status, answer = made_up.answer(path, json.loads(text) if text else None)
            assert self.headers["Authorization"] == "Bearer token"
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names of http.server

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        made_up.door = Door("web UI", url, "token", "coder", None, 2048, browsers.CHAT, False)
        yield made_up


def test_temporary_chats(web_ui: MadeUp) -> None:
    mark = Mark.new()
    asked = list(browsers.ask_as_browsers(web_ui.door, mark))
    assert [each.ended for each in asked] == ["200"] * 3
    plain, wrong, stopped = web_ui.chats
    for body in web_ui.chats:
        # so that it is answered through a socket, and kept nowhere
        assert body["chat_id"] == f"temporary:{body['session_id']}"
        assert body["id"]
        assert mark.word in json.dumps(body["messages"])
    assert len({body["session_id"] for body in web_ui.chats}) == 3
    assert "temperature" not in plain
    assert wrong["temperature"].startswith(mark.word)
    assert stopped["max_tokens"] == 1024
    assert [path for path, _ in web_ui.received if "stop" in path] == ["/api/tasks/stop/task2"]
    # each was waited for
    assert not any(web_ui.left.values())


def test_one_that_is_never_answered(web_ui: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "TASK_SECONDS", 0)
    web_ui.looks = 1000
    plain, *_ = browsers.ask_as_browsers(web_ui.door, Mark.new())
    assert plain.ended == "no answer after 0 s"


def test_one_that_the_web_ui_refuses(web_ui: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_ui, "answer", lambda *_: (500, {"detail": "broken"}))
    ended = [each.ended for each in browsers.ask_as_browsers(web_ui.door, Mark.new())]
    assert ended == ["no answer (ServiceError)"] * 3


def test_a_chat_is_kept_until_the_search_has_ended(web_ui: MadeUp) -> None:
    mark = Mark.new()
    look: Any = SimpleNamespace(
        web_ui=WebUI(web_ui.door.base, "token"),
        artefacts=SimpleNamespace(plan=SimpleNamespace(default_model="coder")),
        needles=Needles(mark, {}),
    )
    with browsers.KeptChat(look):
        [body] = web_ui.chats
        assert "chat_id" not in body
        assert body["parent_id"] is None
        assert mark.word in body["user_message"]["content"]
        assert not any(web_ui.left.values())
        assert not any(path.startswith("DELETE") for path, _ in web_ui.received)
    assert web_ui.received[-1][0] == "DELETE /api/v1/chats/new-chat"
