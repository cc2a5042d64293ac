"""The web UI's administrator gets another password, through an API like Open WebUI's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import SecretError, ServiceError
from deploy.live import admin_password
from deploy.live.admin_password import NAME, rotate_admin_password
from deploy.secrets import SecretStore
from tests.serving import QuietHandler, running

EMAIL = "admin@atelier.local"
WRONG = (
    "The email or password provided is incorrect. Please check for typos and try logging in again."
)
"""What Open WebUI 0.12.4 says."""


@dataclass
class WebUI:
    """Who may sign in."""

    password: str
    dies: bool = False
    """Whether it has the new password, and says so to nobody."""
    busy: int = 0
    """Status with which it refuses everybody who signs in; 0 if it does not."""
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, str], token: str) -> tuple[int, Any]:
        self.asked.append(path)
        if path == "/api/config":
            return 200, {}
        if path.endswith("/signin") and self.busy:
            return self.busy, {"detail": "later"}
        if path.endswith("/signin"):
            is_right = (body["email"], body["password"]) == (EMAIL, self.password)
            return (200, {"token": "t"}) if is_right else (400, {"detail": WRONG})
        if token != "Bearer t" or body["password"] != self.password:
            return 401, {"detail": "not authenticated"}
        self.password = body["new_password"]
        return (500, {}) if self.dies else (200, True)


@contextmanager
def serving(web_ui: WebUI) -> Iterator[str]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "{}")
            status, answer = web_ui.answer(self.path, body, self.headers.get("Authorization", ""))
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def web_ui(demo: Artefacts, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebUI]:
    """One that has the kept password."""
    found = WebUI(demo.secrets.value(NAME))
    with serving(found) as url:

        @contextmanager
        def connect(_: Any) -> Iterator[Any]:
            yield SimpleNamespace(reach=lambda *_: url)

        monkeypatch.setattr(admin_password, "connect", connect)
        yield found


def kept(artefacts: Artefacts) -> SecretStore:
    return SecretStore(artefacts.secrets.path, {})


def again(artefacts: Artefacts) -> Artefacts:
    """The same, by a command that begins anew."""
    return make_artefacts(artefacts.spec, artefacts.secrets.path.parent.parent)


def test_the_web_ui_and_the_file_have_the_same_new_one(demo: Artefacts, web_ui: WebUI) -> None:
    old = web_ui.password
    rotate_admin_password(demo)
    assert web_ui.password == kept(demo).value(NAME) != old
    assert kept(demo).before(NAME) == ""


def test_a_command_that_ends_half_way_is_gone_on_with(demo: Artefacts, web_ui: WebUI) -> None:
    web_ui.dies = True
    with pytest.raises(ServiceError):
        rotate_admin_password(demo)
    new, web_ui.dies = web_ui.password, False
    assert kept(demo).before(NAME)
    rotate_admin_password(again(demo))
    assert new == web_ui.password == kept(demo).value(NAME)
    assert kept(demo).before(NAME) == ""


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_a_web_ui_that_does_not_say_loses_neither(
    demo: Artefacts, web_ui: WebUI, status: int
) -> None:
    """It may have the new one already: nothing is given up before it has said which is wrong."""
    web_ui.dies = True
    with pytest.raises(ServiceError):
        rotate_admin_password(demo)
    new, web_ui.busy, web_ui.dies = web_ui.password, status, False
    with pytest.raises(ServiceError, match=str(status)):
        rotate_admin_password(again(demo))
    assert (kept(demo).value(NAME), bool(kept(demo).before(NAME))) == (new, True)
    web_ui.busy = 0
    rotate_admin_password(again(demo))
    assert new == web_ui.password == kept(demo).value(NAME)


def test_a_command_that_ended_before_the_web_ui_was_told(demo: Artefacts, web_ui: WebUI) -> None:
    demo.secrets.begin(NAME)
    new = kept(demo).value(NAME)
    rotate_admin_password(again(demo))
    assert new == web_ui.password == kept(demo).value(NAME)


def test_a_password_changed_by_hand_is_not_lost(demo: Artefacts, web_ui: WebUI) -> None:
    web_ui.password = "changed-by-hand"
    before = yaml.safe_load(demo.secrets.path.read_text())
    with pytest.raises(SecretError, match="it was changed in the web UI"):
        rotate_admin_password(demo)
    assert yaml.safe_load(demo.secrets.path.read_text()) == before
    assert web_ui.password == "changed-by-hand"


def test_a_web_ui_that_does_not_answer_changes_nothing(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def connect(_: Any) -> Iterator[Any]:
        yield SimpleNamespace(reach=lambda *_: "http://127.0.0.1:1")

    monkeypatch.setattr(admin_password, "connect", connect)
    before = demo.secrets.path.read_text()
    with pytest.raises(ServiceError, match="does not answer"):
        rotate_admin_password(demo)
    assert demo.secrets.path.read_text() == before
