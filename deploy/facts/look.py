"""One look at a host: a single command that answers every question of a run.

Each fact is a question. Those that a run asks are said beforehand; the first operation that wants
an answer gets them all, and the next ones have theirs without another round trip. What was seen
holds until an operation changes something on that host.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pyinfra import host, state
from pyinfra.api import FactBase

from deploy.facts.engine import ENGINE
from deploy.facts.system import ASK_SYSTEM

Answer = TypeVar("Answer")
MARK = "@@"
FAILED = "@@failed"


@dataclass(frozen=True)
class Question:
    """A fact and what it is asked."""

    fact: type[FactBase[Any]]
    arguments: tuple[tuple[str, Hashable], ...]

    @classmethod
    def of(cls, fact: type[FactBase[Any]], **arguments: Any) -> Question:
        """A question with these arguments; lists among them are taken as tuples."""
        return cls(fact, tuple((name, _frozen(value)) for name, value in arguments.items()))

    @property
    def shell(self) -> str:
        """The shell command that prints the answer."""
        return str(self.fact().command(**dict(self.arguments)))

    def parse(self, lines: list[str]) -> Any:
        """The answer in what was printed."""
        return self.fact().process(lines) if lines else self.fact.default()


class Look(FactBase[dict[int, list[str]]]):
    """What several questions print, by their position."""

    def command(self, shells: tuple[str, ...]) -> str:
        """Run them one after the other, each in a shell of its own; one that fails fails all."""
        # the look itself begins with what is asked of the engine
        parts = [
            f"echo {MARK}{position}; ( {shell.replace(ENGINE, ':')} ) || "
            f"{{ echo {FAILED} {position}; exit 1; }}"
            for position, shell in enumerate(shells)
        ]
        # printed at once: each line would be a packet of its own. The shell of macOS does not
        # understand every text within $(), but a function
        return (
            f"LC_ALL=C; export LC_ALL; : {ASK_SYSTEM}; {ENGINE}\n"
            f"atelier_look() {{\n{'; '.join(parts)}; echo {MARK}{len(shells)}\n}}\n"
            "said=$(atelier_look); status=$?; printf '%s\\n' \"$said\"; exit $status"
        )

    @staticmethod
    def default() -> dict[int, list[str]]:
        """No answers."""
        return {}

    def process(self, output: list[str]) -> dict[int, list[str]]:
        """Lines by the question above them."""
        answers: dict[int, list[str]] = {}
        current: list[str] = []
        for line in output:
            if line.startswith(MARK) and line[len(MARK) :].isdigit():
                current = answers.setdefault(int(line[len(MARK) :]), [])
            else:
                current.append(line)
        return answers


@dataclass
class _Seen:
    """What a host answered, in which stage of the run."""

    executing: bool
    answers: dict[Question, Any]
    began: float
    ended: float


_questions: dict[str, tuple[Question, ...]] = {}
_seen: dict[str, _Seen] = {}


def will_ask(questions: Iterable[Question]) -> None:
    """Say what will be asked of the current host in this run."""
    _questions[host.name] = tuple(dict.fromkeys(questions))
    forget()


def ask(fact: type[FactBase[Answer]], **arguments: Any) -> Answer:
    """The answer of the current host, from the look that is valid, or from a new one."""
    question = Question.of(fact, **arguments)
    expected = _questions.get(host.name, ())
    if question not in expected:
        return host.get_fact(fact, **dict(question.arguments))
    seen = _seen.get(host.name)
    if seen is None or seen.executing != state.is_executing:
        began = time.time()
        answers = _look(expected)
        seen = _seen[host.name] = _Seen(state.is_executing, answers, began, time.time())
    answer: Answer = seen.answers[question]
    return answer


def seen(name: str, fact: type[FactBase[Answer]]) -> Answer | None:
    """What a host answered to the question of a kind; nothing if that may not hold any more."""
    found = _seen.get(name)
    if found is None or found.executing != state.is_executing:
        return None
    return next((a for asked, a in found.answers.items() if asked.fact is fact), None)


def moment_of(clock: float | None) -> float:
    """This machine's time when the current host's clock was read, as near to that as can be.

    It was some time while the host was looked at, and that may be long ago: others answer later.

    Args:
        clock: what the host's clock said, in seconds since the epoch.
    """
    found = _seen.get(host.name)
    if found is None or clock is None:
        return time.time()
    return min(max(clock, found.began), found.ended)


def forget() -> None:
    """Something changes on the current host: what was seen no longer holds."""
    _seen.pop(host.name, None)


def _look(questions: tuple[Question, ...]) -> dict[Question, Any]:
    lines = host.get_fact(Look, shells=tuple(question.shell for question in questions))
    return {
        question: question.parse(lines.get(position, []))
        for position, question in enumerate(questions)
    }


def _frozen(value: Any) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    hashable: Hashable = value
    return hashable


def words(values: Iterable[str]) -> str:
    """Values as words of a shell command."""
    return " ".join(shlex.quote(value) for value in values)
