"""A question to a service, and to whom; how several are asked at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from deploy.live.checks import Answer, Check, run_check

AT_ONCE = 8
"""How many questions are asked at the same time."""
TELL_SECONDS = 15
"""How often it is said which answers are waited for."""

Tell = Callable[[str], object]
"""Is told what is waited for."""


@dataclass(frozen=True)
class Question:
    """What is asked of a service."""

    name: str
    host: str
    ask: Callable[[], str | Answer]
    """Returns what was answered; see run_check."""
    model: str = ""
    """The served model that answers; empty where none does."""
    patience_seconds: int = 0
    """How long its answer may take, where that is long."""


def answers(turns: Iterable[Sequence[Question]], tell: Tell) -> Generator[Check, None, None]:
    """Ask, and return what was answered in the order of the questions.

    Args:
        turns: questions; those of a turn are asked one after the other.
        tell: is told every few seconds what is waited for.
    """
    asked: dict[Question, float] = {}
    pending = [(turn, Future[list[Check]]()) for turn in turns]
    todo: SimpleQueue[tuple[Sequence[Question], Future[list[Check]]]] = SimpleQueue()
    for each in pending:
        todo.put(each)
    for _ in pending[:AT_ONCE]:
        # one that is interrupted does not wait for answers
        Thread(target=_ask, args=(todo, asked), daemon=True).start()
    for _, checks in pending:
        while not wait([checks], TELL_SECONDS).done:
            tell(f"waiting for {', '.join(_waited(each, at) for each, at in [*asked.items()])}")
        yield from checks.result()


def _ask(
    todo: SimpleQueue[tuple[Sequence[Question], Future[list[Check]]]], asked: dict[Question, float]
) -> None:
    while True:
        try:
            turn, checks = todo.get_nowait()
        except Empty:
            return
        try:
            checks.set_result([_ask_one(question, asked) for question in turn])
        except BaseException as error:
            checks.set_exception(error)


def _ask_one(question: Question, asked: dict[Question, float]) -> Check:
    asked[question] = time.monotonic()
    try:
        return run_check(question.name, question.host, question.ask)
    finally:
        asked.pop(question)


def _waited(question: Question, since: float) -> str:
    most = f" of at most {question.patience_seconds}" if question.patience_seconds else ""
    return f"{question.name} on {question.host} ({time.monotonic() - since:.0f}{most} s)"
