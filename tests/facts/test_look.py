"""One look at a host: asked once, valid until something changes."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import FactBase
from pyinfra.context import ctx_host, ctx_state

from deploy.facts import look
from deploy.facts.look import Look, Question


class Word(FactBase[str]):
    """A word that the host says."""

    def command(self, word: str) -> str:
        return f"echo {word}"

    @staticmethod
    def default() -> str:
        return "nothing"

    def process(self, output: list[str]) -> str:
        return " ".join(output)


class Host:
    """Runs what facts ask for in a shell of this machine."""

    name = "h1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_fact(self, fact: type[FactBase[Any]], **arguments: Any) -> Any:
        command = str(fact().command(**arguments))
        self.asked.append(command)
        result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout
        return fact().process(result.stdout.splitlines())


@pytest.fixture
def host() -> Any:
    """The current host, on which two questions are expected."""
    host, state = Host(), SimpleNamespace(is_executing=False)
    with ctx_state.use(state), ctx_host.use(host):
        look.will_ask([Question.of(Word, word="one"), Question.of(Word, word="two")])
        host.state = state  # type: ignore[attr-defined]
        yield host
        look.will_ask([])


def test_all_questions_are_asked_in_one_command(host: Host) -> None:
    assert (look.ask(Word, word="one"), look.ask(Word, word="two")) == ("one", "two")
    assert len(host.asked) == 1


def test_what_was_seen_holds_until_something_changes(host: Host) -> None:
    look.ask(Word, word="one")
    look.forget()
    look.ask(Word, word="two")
    assert len(host.asked) == 2


def test_a_run_looks_again_at_what_its_dry_run_saw(host: Any) -> None:
    look.ask(Word, word="one")
    host.state.is_executing = True
    look.ask(Word, word="one")
    look.ask(Word, word="two")
    assert len(host.asked) == 2


def test_a_question_that_was_not_expected_is_asked_alone(host: Host) -> None:
    assert look.ask(Word, word="three") == "three"
    assert host.asked == ["echo three"]


def test_a_question_without_an_answer_has_its_default(host: Host) -> None:
    look.will_ask([Question.of(Word, word="one; exit 0"), Question.of(Word, word=">/dev/null")])
    assert look.ask(Word, word="one; exit 0") == "one"
    assert look.ask(Word, word=">/dev/null") == "nothing"


def test_a_question_that_fails_fails_the_whole_look() -> None:
    """Else what cannot be read would look like what is not there."""
    command = Look().command(("echo fine", "exit 3", "echo never"))
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert result.returncode == 1
    assert "never" not in result.stdout
