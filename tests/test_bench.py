"""What the benchmark makes of what it measured."""

from __future__ import annotations

from bench.measure import Row, speedup
from bench.trace import Span, own_seconds


def test_what_was_done_inside_is_taken_out() -> None:
    spans = [
        Span("look", 2.0, 3.0),
        Span("start", 0.0, 1.0),
        Span("look", 4.0, 4.5),
        Span("inside of a look", 4.0, 4.25),
        Span("prepare", 1.0, 6.0),
    ]
    assert own_seconds(spans) == {
        "start": 1.0,
        "prepare": 3.5,
        "look": 1.25,
        "inside of a look": 0.25,
    }


def test_how_much_faster_than_which_tool() -> None:
    rows = [
        Row("here", "first", "Atelier", [1.0, 3.0, 2.0]),
        Row("here", "first", "Ansible", [20.0]),
        Row("there", "first", "Ansible", [5.0]),
    ]
    assert speedup(rows, "here", "first", "Ansible") == 10
    assert speedup(rows, "here", "first", "Ansible with Mitogen") is None
    assert speedup(rows, "there", "first", "Ansible") is None
