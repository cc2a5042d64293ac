"""A recommendation for people, in 80 columns: options side by side, and every reason."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

from deploy.cli.output import console
from deploy.cli.paragraphs import print_list, print_text
from deploy.licence import use_name
from deploy.recommend import Option, Recommendation
from deploy.recommend.choose import NotChosen
from deploy.recommend.hardware import gpus_text
from deploy.recommend.reference import SOURCE, Reference
from deploy.recommend.request import counted
from deploy.recommend.strength import RULE
from deploy.sizing.to_json import ESTIMATE

NAME_WIDTH = 17
CELL_WIDTH = 15
SHOWN_LOSERS = 4
KINDS = {
    "over_budget": "over the budget",
    "too_small": "serves too few",
    "dearer": "dearer, no stronger",
    "weaker": "weaker",
    "less_value": "less for the money",
}
Row = tuple[str, Callable[[Option], str]]


def print_recommendation(answer: Recommendation) -> None:
    """Print the options, why the first, why not the others, and the reference."""
    request = answer.request
    print_text(
        f"{counted(request.users)}, {request.work}: {request.context} tokens of context each and"
        f" {request.needs.pace:g} tokens/s at least, all at once; {use_name(request.use)}"
        " (other work: --work)"
    )
    print_text("")
    if answer.best is None:
        print_text("Nothing is enough: allow more GPUs or budget, less context, or fewer users.")
    else:
        _print_options(answer)
        print_list("why A", answer.reasons)
        print_list("mind", answer.warnings)
    print_list("why not", _losers(answer.not_chosen))
    print_list("models left out", (f"{m.model}: {m.reason}" for m in answer.excluded_models))
    print_list("where the costs cross", _break_even(answer))
    print_list(_reference_title(answer.reference), _findings(answer))
    print_text(f"\n  strength: {RULE}")
    print_text(f"  tokens/s: {ESTIMATE}")


def _print_options(answer: Recommendation) -> None:
    letters = "ABCD"[: len(answer.options)]
    titles = [f"{letter}{' (best)' if letter == 'A' else ''}" for letter in letters]
    _print_row("", titles)
    for name, cell in _rows(answer):
        _print_row(name, [cell(option) for option in answer.options])


def _rows(answer: Recommendation) -> Iterator[Row]:
    rates, request = answer.request.rates, answer.request
    yield "hardware", lambda o: o.hardware.label
    yield "", lambda o: o.hardware.kind
    yield "model", lambda o: o.candidate.model
    yield "weights", lambda o: o.candidate.weights
    yield "KV cache", lambda o: o.sizing.kv_cache_dtype
    yield "engine", lambda o: o.candidate.engine
    yield "arrangement", _arrangement
    yield "context up to", lambda o: str(o.sizing.max_model_len)
    yield f"users >= {request.needs.pace:g} tok/s", lambda o: str(o.users_served)
    yield "tokens/s each", lambda o: f"{o.tokens_per_second_per_user:.1f}"
    if request.role == "completion":
        yield "completion s", lambda o: _number(o.completion_seconds, 2)
    yield "strength", lambda o: f"{o.strength:.0f}"
    yield "EUR once", lambda o: _number(o.hardware.price_eur)
    yield "EUR/month", lambda o: _number(o.eur_per_month)
    yield "EUR/month/user", lambda o: _number(o.eur_per_user_per_month, 2)
    yield "EUR/M tokens", lambda o: _number(o.eur_per_million_tokens(rates.utilization), 2)
    yield "watts", lambda o: _number(o.hardware.power_watts)
    yield "watts/user", lambda o: _number(o.hardware.power_watts / o.users, 1)


def _arrangement(option: Option) -> str:
    sizing = option.sizing
    parts = [f"TP {sizing.tensor_parallel_size}"] if option.candidate.engine == "vllm" else []
    if sizing.pipeline_parallel_size > 1:
        split = "PP" if parts else "layers over"
        parts.append(f"{split} {sizing.pipeline_parallel_size}")
    replicas = sizing.replicas * option.hardware.machines
    if replicas > 1:
        parts.append(f"x {replicas}")
    return " ".join(parts) or "1 GPU"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _print_row(name: str, cells: list[str]) -> None:
    columns = [textwrap.wrap(cell, CELL_WIDTH - 1) or [""] for cell in cells]
    for index in range(max(map(len, columns))):
        parts = [column[index] if index < len(column) else "" for column in columns]
        label = name if index == 0 else ""
        text = "".join(part.ljust(CELL_WIDTH) for part in parts)
        console.print(f"  {label:{NAME_WIDTH}} {text}".rstrip(), markup=False, soft_wrap=True)


def _losers(not_chosen: tuple[NotChosen, ...]) -> Iterator[str]:
    for kind, title in KINDS.items():
        group = [lost for lost in not_chosen if lost.kind == kind]
        for lost in group[:SHOWN_LOSERS]:
            yield f"{title}: {lost.what} ({lost.reason})"
        if len(group) > SHOWN_LOSERS:
            yield f"{title}: {len(group) - SHOWN_LOSERS} more (--json lists them)"


def _break_even(answer: Recommendation) -> Iterator[str]:
    even = answer.break_even
    if even is None:
        return
    if even.months_until_bought_is_cheaper is not None:
        yield (
            f"A has cost less than renting {even.rented_as} after"
            f" {even.months_until_bought_is_cheaper:.1f} months"
        )
    elif even.rented_as:
        yield f"A never costs less than renting {even.rented_as}: power alone costs more"
    if even.million_tokens_per_month is not None:
        price = answer.request.saas_eur_per_million_tokens or 0.0
        yield (
            f"a service at {price:g} EUR per million tokens costs more from"
            f" {even.million_tokens_per_month:,.1f} million tokens a month on, or"
            f" {even.million_tokens_per_user_per_month:,.2f} million per user:"
            f" {even.share_of_capacity:.1%} of what A generates around the clock"
        )


def _reference_title(row: Reference) -> str:
    hardware = " or ".join(gpus_text(gpus) for gpus in row.gpus)
    return (
        f"against the reference for {row.users} users ({SOURCE}: {hardware}, {row.engine},"
        f" {row.sizes})"
    )


def _findings(answer: Recommendation) -> Iterator[str]:
    for finding in answer.findings:
        yield f"{finding.subject}: {finding.verdict}: {finding.text}"
