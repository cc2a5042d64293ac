"""A recommendation as a page: memory of each card, and cost against users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.catalog import Catalog
from deploy.cli.diagram import Bar, lines, page, stacked_bars, text_list
from deploy.cli.size_page import PARTS, memory_bar
from deploy.cost import SECONDS_PER_MONTH
from deploy.recommend import Option, Recommendation, RecommendRequest, recommend
from deploy.recommend.request import counted
from deploy.recommend.strength import RULE
from deploy.sizing.to_json import ESTIMATE

USERS = (1, 3, 10, 30, 100, 300)


def write_recommendation_page(path: Path, answer: Recommendation, catalog: Catalog) -> None:
    """Write the page of one recommendation."""
    request = answer.request
    bars = [_bar(letter, o) for letter, o in zip("ABCD", answer.options, strict=False)]
    options = [
        f"{letter}: {_option_text(option)}"
        for letter, option in zip("ABCD", answer.options, strict=False)
    ]
    sections = [
        ("Side by side", text_list(options or ["Nothing is enough."])),
        ("Memory of each card", stacked_bars(PARTS, bars) if bars else ""),
        ("EUR a month, against users", lines("users", "EUR a month", _costs(request, catalog))),
        ("Why A", text_list(answer.reasons)),
        ("Mind", text_list(answer.warnings)),
        ("How far to trust it", text_list([f"strength: {RULE}", f"tokens/s: {ESTIMATE}"])),
    ]
    title = f"{counted(request.users)}, {request.work}, {request.context} tokens each"
    path.write_text(page(title, sections), encoding="utf-8")


def _bar(letter: str, option: Option) -> Bar:
    gpus = option.hardware.gpus
    names = ", ".join(dict.fromkeys(gpus))
    return memory_bar(f"{letter}: each of {len(gpus)} x {names}", option.sizing)


def _option_text(option: Option) -> str:
    cost = option.eur_per_month
    price = "no price known" if cost is None else f"{cost:,.0f} EUR a month"
    return (
        f"{option.hardware.label} ({option.hardware.kind}), {option.candidate.text}, {price};"
        f" {option.tokens_per_second_per_user:.0f} tokens/s each with all {option.users} at once,"
        f" strength {option.strength:.0f}"
    )


def _costs(request: RecommendRequest, catalog: Catalog) -> dict[str, list[tuple[float, float]]]:
    """The cheapest bought and rented of what is recommended, and a service by its tokens."""
    found: dict[str, list[tuple[float, float]]] = {"bought": [], "rented": [], "a service": []}
    for users in sorted({*USERS, request.users}):
        answer = recommend(replace(request, users=users), catalog)
        for name, kind in (("bought", "bought"), ("rented", "hosted")):
            costs = [o.eur_per_month for o in answer.options if o.hardware.kind == kind]
            known = [cost for cost in costs if cost]
            if known:
                found[name].append((float(users), min(known)))
        saas = request.saas_eur_per_million_tokens
        if saas and answer.best:
            each = answer.best.tokens_per_second_per_user * request.rates.utilization
            tokens = users * each * SECONDS_PER_MONTH / 1e6
            found["a service"].append((float(users), tokens * saas))
    return {name: line for name, line in found.items() if line}
