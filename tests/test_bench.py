"""What the benchmark makes of what it measured."""

from __future__ import annotations

from bench.measure import Row, speedup
from bench.report import section_of, with_section
from bench.streams import Way, _sent, rows
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


DOCUMENT = "# Benchmarks\n\nText.\n\n## Steps\n\nSome.\n\n## The machine\n\n2 processors\n"


def test_a_section_is_written_anew_and_the_rest_is_kept() -> None:
    heading = "## Streams"
    first = with_section(DOCUMENT, heading, "one\n")
    assert section_of(first, heading) == "one"
    assert first.index("## Steps") < first.index(heading) < first.index("## The machine")
    second = with_section(first, heading, "two")
    assert second == with_section(DOCUMENT, heading, "two")
    assert section_of(DOCUMENT, heading) == ""


def test_a_token_says_when_it_left() -> None:
    assert _sent(b'data: {"choices":[{"delta":{"content": "1500000 "}}]}\n') == 1.5
    assert _sent(b'data: {"choices":[{"delta":{"content":"2000000 ","role":"x"}}]}\n') == 2.0
    assert _sent(b'data: {"choices":[{"delta":{"content":"token "}}]}\n') is None
    assert _sent(b'data: {"choices":[]}\n') is None


def test_what_a_way_adds() -> None:
    direct = Way("the engine itself", 2, [0.001] * 100, [0.01], 1.0)
    entry = Way(
        "the entry", 2, [0.002] * 94 + [0.2] * 6, [0.02], 1.0, {"bench-streams-haproxy-0": 0.5}
    )
    first, second = rows([direct, entry])
    assert first[5] == ""
    assert second[2:7] == ("100 of 100", "20", "2.0, 200.0, 200.0", "1.0", "haproxy 50")
