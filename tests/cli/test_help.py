"""What ``--help`` shows of every verb: whole names of options, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from deploy.cli.main import app
from tests.cli.run import run


def every_verb(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", {})
    for name, verb in inner.items():
        yield from every_verb(verb, (*words, name))
    if not inner:
        yield words, command


VERBS = dict(every_verb(typer.main.get_command(app)))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_options_are_shown_whole(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run(*words, "--help")
    options = [each for each in VERBS[words].params if each.param_type_name == "option"]
    for name in (name for option in options for name in option.opts):
        assert name in out.replace(",", " ").split()
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_flags_take_no_value(words: tuple[str, ...]) -> None:
    assert "<bool>" not in run(*words, "--help")
