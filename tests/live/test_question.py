"""Answers that take long are waited for, as long as they may take, and it is said what for."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.live import question
from deploy.live.checks import complete, run_check
from deploy.live.question import Question, answers
from deploy.live.verify import verify
from tests.conftest import MakeArtefacts
from tests.live.test_live import Serve, completion, serve
from tests.live.test_ollama import fake_connect

__all__ = ["serve"]


def asked(name: str, ask: Callable[[], str], patience_seconds: int = 0) -> Question:
    return Question(name, "h1", ask, patience_seconds=patience_seconds)


def test_answers_come_in_the_order_of_the_questions() -> None:
    slow = asked("slow", lambda: time.sleep(0.05) or "a")  # type: ignore[func-returns-value]
    turns = [[slow, asked("quick", lambda: "b")], [asked("other", lambda: "c")]]
    assert [check.detail for check in answers(turns, str)] == ["a", "b", "c"]


def test_it_is_said_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "TELL_SECONDS", 0.02)
    done = Event()
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        done.set()

    def load() -> str:
        done.wait(10)
        return "loaded"

    turns = [[asked("quick", lambda: "a")], [asked("engine big", load, 600)]]
    assert [check.detail for check in answers(turns, tell)] == ["a", "loaded"]
    assert said[0] == "waiting for engine big on h1 (0 of at most 600 s)"


def test_what_goes_wrong_in_a_question_is_raised_here() -> None:
    def breaks() -> str:
        raise OSError("the connection broke")

    with pytest.raises(OSError, match="broke"):
        list(answers([[asked("a", breaks)]], str))


def test_who_stops_asking_does_not_wait_for_answers() -> None:
    never = Event()
    checks = answers([[asked("a", lambda: "b")], [asked("c", lambda: str(never.wait(60)))]], str)
    assert next(checks).detail == "b"
    started = time.monotonic()
    checks.close()
    assert time.monotonic() - started < 30
    never.set()


def test_an_answer_that_does_not_come_in_time(serve: Serve) -> None:
    def late(*_: Any) -> tuple[int, str]:
        time.sleep(0.5)
        return 200, completion("x")

    url = serve(late)
    check = run_check("a", "h1", lambda: complete(url, "", "tiny", None, seconds=0.05))
    assert (check.ok, check.detail) == (False, "no answer within 0.05 s")


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 600),
        ({"engine": {"start_timeout_seconds": 1800}}, 1800),
        (
            {"engine": {"start_timeout_seconds": 30}, "router": {"request_timeout_seconds": 900}},
            900,
        ),
        ({"engine": {"start_timeout_seconds": 30}, "router": {"request_timeout_seconds": 60}}, 120),
    ],
)
def test_a_model_may_take_as_long_as_it_is_given(
    make: MakeArtefacts,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    seconds: int,
) -> None:
    artefacts: Artefacts = make(**settings)
    artefacts.secrets.save()
    allowed: dict[str, float] = {}

    def ask(_base: str, path: str, _key: str, _body: Any, seconds: float = 0) -> Any:
        allowed[path] = seconds
        raise ValueError(path)

    for name in ("post", "stream"):
        monkeypatch.setattr(f"deploy.live.checks.{name}", ask)
    monkeypatch.setattr("deploy.live.checks.sign_in", lambda *_: "token")
    monkeypatch.setattr("deploy.live.verify.connect", fake_connect(artefacts, "http://x"))
    assert [check for check in verify(artefacts) if check.ok] == []
    assert allowed == dict.fromkeys(
        ("/v1/completions", "/v1/chat/completions", "/api/chat/completions"), seconds
    )
