"""What a load met, for people, in 80 columns or fewer; and as plain data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from deploy.cli.output import console, print_table
from deploy.live.load.figures import Part
from deploy.live.load.percentiles import Percentiles
from deploy.live.load.report import LoadReport, UseReport
from deploy.live.load.verdicts import Kind, Measure, Verdict
from deploy.live.load.workload import Use

WIDTH = 78
MOST_LATE_SECONDS = 0.05
"""By which this machine may be late until figures mean little."""
COLUMNS = ["", "half", "95 %", "99 %", "the plan"]
COLOURS = {Kind.KEPT: "green", Kind.WITHIN_ERROR: "yellow", Kind.MISSED: "red"}


def load_to_json(found: LoadReport) -> dict[str, Any]:
    """Every figure, with the keys that docs/load.md promises."""
    return asdict(found)


def part_text(part: Part) -> str:
    """Who asks which model, and what for."""
    shape = part.shape
    if shape.use is Use.COMPLETIONS:
        what = "complete code while they type, and give up what comes too late"
        asked = f"{shape.prompt_tokens} tokens asked, {shape.output_tokens} written"
    else:
        what = "chat, and read the answers"
        asked = f"{shape.prompt_tokens} new tokens asked, up to {shape.output_tokens} written"
    return f"{part.people} with {part.model}: {what}; {asked}"


def people(count: int) -> str:
    """How many there are, in words."""
    return "1 person" if count == 1 else f"{count} people"


def print_load(found: LoadReport) -> None:
    """The tables, then what they mean."""
    for use in found.uses:
        print_table(title_of(use), COLUMNS, list(rows(use)), COLUMNS[1:])
        console.print()
    for line in summary(found):
        _print(line, "")
    for use in found.uses:
        for verdict in use.verdicts:
            _print(verdict_text(use, verdict), COLOURS.get(verdict.kind, ""))


def _print(line: str, style: str) -> None:
    for part in folded(line):
        console.print(part, style=style or None, markup=False)


def folded(line: str) -> list[str]:
    """A sentence in lines, where the terminal has room for them."""
    return textwrap.wrap(line, min(WIDTH, console.width), subsequent_indent="  ")


def title_of(use: UseReport) -> str:
    """Whose figures follow."""
    doing = "completing code" if use.use is Use.COMPLETIONS else "chatting"
    return f"{people(use.people)} {doing} with {use.model}"


def rows(use: UseReport) -> Iterator[list[str]]:
    """The figures: half of all, 95 % and 99 % are no worse."""
    promise = use.promise
    first = promise.first_token_seconds if promise else None
    speed = promise.tokens_per_second_per_user if promise else None
    yield ["first token, s", *_cells(use.first_token_seconds, 2), _cell(first, 2)]
    yield ["whole answer, s", *_cells(use.answer_seconds, 2), ""]
    yield ["between tokens, s", *_cells(use.token_gap_seconds, 3), _cell(speed and 1 / speed, 3)]
    yield ["tokens/s per person", *_cells(use.tokens_per_second_per_person, 1), _cell(speed, 1)]


def _cells(found: Percentiles | None, digits: int) -> list[str]:
    if found is None:
        return ["-", "-", "-"]
    figures = {"p50": found.p50, "p95": found.p95, "p99": found.p99}
    return [
        f"{'>' if name in found.longer else ''}{each:.{digits}f}" for name, each in figures.items()
    ]


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def summary(found: LoadReport) -> Iterator[str]:
    """What was asked, and what became of it."""
    ended = ", then it was stopped" if found.stopped else ""
    way = " through SSH" if found.through_ssh else ""
    yield (
        f"{people(found.people)} at {found.address}{way} for {found.seconds:.0f} s{ended}:"
        f" {found.tokens_per_second:.1f} tokens/s in all."
    )
    for use in found.uses:
        yield f"{use.use.capitalize()}: {outcome_text(use)}."
    if found.queue is None:
        yield "No engine says how many requests wait."
    else:
        queue = found.queue
        yield (
            f"In the engines {queue.most_running} at once and {queue.most_waiting} waiting at most;"
            f" {queue.mean_waiting:.1f} waiting on average."
        )
    if found.late_seconds > MOST_LATE_SECONDS:
        yield (
            f"This machine was late itself, by up to {found.late_seconds:.2f} s 95 % of the time:"
            " answers seem later than they were; play fewer people on it, or take another one."
        )


def outcome_text(use: UseReport) -> str:
    """How many requests ended how."""
    parts = [f"{use.requests} requests", f"{use.answered} answered"]
    parts += [f"{use.without_text} answered without text"] if use.without_text else []
    parts += [f"{use.cancelled} given up"] if use.cancelled else []
    parts += [f"{use.unfinished} unfinished at the end"] if use.unfinished else []
    parts += [f"{use.too_many} refused with 429"] if use.too_many else []
    parts += [f"{count} failed: {kind}" for kind, count in use.errors.items()]
    if use.prompt_tokens:
        parts.append(f"{use.prompt_tokens:.0f} tokens in a prompt")
    return ", ".join(parts)


def verdict_text(use: UseReport, verdict: Verdict) -> str:
    """One figure against what it should be, in a sentence."""
    name = use.use.capitalize()
    if verdict.kind is Kind.NOT_MEASURED or verdict.found is None:
        return f"{name}: too few answers to judge {verdict.measure.value}."
    return f"{name}: {SENTENCES[verdict.measure](use, verdict, verdict.found)}"


def _speed(use: UseReport, verdict: Verdict, found: float) -> str:
    return (
        f"half of the answers came with {found:.1f} tokens/s or more, the plan promises"
        f" {verdict.wanted:.1f} to each of {_promised_to(use)}: {_judgement(verdict)}"
    )


def _first(use: UseReport, verdict: Verdict, found: float) -> str:  # noqa: ARG001
    came = "had not come after" if verdict.is_longer else "came within"
    return (
        f"half of the first tokens {came} {found:.2f} s, the plan promises"
        f" {verdict.wanted:.2f} s to a prompt that waits for nothing: {_judgement(verdict)}"
    )


def _pace(use: UseReport, verdict: Verdict, found: float) -> str:  # noqa: ARG001
    good = "as fast as people read" if verdict.kind is Kind.KEPT else "slower than people read"
    return (
        f"95 % of the answers came with {found:.1f} tokens/s or more: {good}"
        f" ({verdict.wanted:g} tokens/s)."
    )


def _in_time(use: UseReport, verdict: Verdict, found: float) -> str:  # noqa: ARG001
    late = "in time" if verdict.kind is Kind.KEPT else "so late that no one looks at them any more"
    if verdict.is_longer:
        return f"more than 5 % were not whole after {found:.2f} s: {late} ({verdict.wanted:g} s)."
    return f"95 % were whole within {found:.2f} s: {late} ({verdict.wanted:g} s)."


def _errors(use: UseReport, verdict: Verdict, found: float) -> str:
    if verdict.kind is Kind.KEPT:
        return f"{found:.1%} of the requests failed."
    kinds = {"429, too many requests": use.too_many} | use.errors
    return f"{found:.0%} of the requests failed, most with {max(kinds, key=kinds.__getitem__)}."


SENTENCES = {
    Measure.SPEED: _speed,
    Measure.FIRST_TOKEN: _first,
    Measure.PACE: _pace,
    Measure.COMPLETION: _in_time,
    Measure.ERRORS: _errors,
}


def _promised_to(use: UseReport) -> str:
    promise = use.promise
    if promise is None:
        return ""
    if promise.answered_at_once < promise.users:
        return f"{promise.answered_at_once} of {promise.users} people at once, others wait"
    return f"{promise.users} people at once"


def _judgement(verdict: Verdict) -> str:
    return {
        Kind.KEPT: "the promise is kept.",
        Kind.WITHIN_ERROR: "less, but within the error of the estimate (40 %).",
        Kind.MISSED: "the promise is not kept.",
    }[verdict.kind]
