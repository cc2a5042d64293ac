"""From users and means to the best arrangements, with the reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.catalog import Catalog
from deploy.cost import break_even_million_tokens, million_tokens_per_month
from deploy.cost import months_until_cheaper as months_until
from deploy.licence import licence_warnings
from deploy.recommend.candidates import Excluded, find_candidates
from deploy.recommend.choose import (
    NotChosen,
    losers,
    over_budget,
    side_by_side,
    worth,
)
from deploy.recommend.evaluate import Option
from deploy.recommend.hardware import Hardware, find_hardware
from deploy.recommend.reference import Finding, Reference, compare, find_reference
from deploy.recommend.request import RecommendRequest, check_request, counted
from deploy.recommend.search import Failure, Search
from deploy.recommend.second_model import completion_model
from deploy.recommend.strength import step
from deploy.sizing.reasons_text import reason_text
from deploy.sizing.throughput import ERROR

PROCESSOR = "a processor serves one user at most, and its memory is not declared"


@dataclass(frozen=True)
class BreakEven:
    """Where the lines of cost cross, for the best option."""

    months_until_bought_is_cheaper: float | None
    """Than renting the same GPUs; ``None`` where no one rents them out, or never."""
    rented_as: str
    """What that is compared with."""
    million_tokens_per_month: float | None
    """From so many a month on, the declared service costs more."""
    share_of_capacity: float | None
    """The same over what the option generates at full load around the clock."""
    million_tokens_per_user_per_month: float | None


@dataclass(frozen=True)
class Recommendation:
    """The answer."""

    request: RecommendRequest
    best: Option | None
    """``None`` where nothing will do."""
    options: tuple[Option, ...]
    """The best one first, then the ones to compare it with."""
    reasons: tuple[str, ...]
    """Why the best one."""
    warnings: tuple[str, ...]
    not_chosen: tuple[NotChosen, ...]
    """Why not the others."""
    excluded_models: tuple[Excluded, ...]
    """Models that were not considered, and why."""
    break_even: BreakEven | None
    reference: Reference
    """The slides' row for that many users."""
    findings: tuple[Finding, ...]
    """Where we agree with it, and where not."""


def recommend(request: RecommendRequest, catalog: Catalog) -> Recommendation:
    """The best arrangements for so many users.

    Raises:
        PlanError: if the request contradicts itself.
    """
    check_request(request)
    candidates, excluded = find_candidates(request, catalog)
    search = Search(request, catalog, candidates)
    options, not_chosen = _options(search, find_hardware(request, catalog))
    best = max(options, key=lambda option: worth(option, request), default=None)
    shown = tuple(side_by_side(best, options, request)) if best else ()
    lost = tuple(losers(best, options, request)) if best else ()
    return Recommendation(
        request=request,
        best=best,
        options=shown,
        reasons=tuple(_reasons(best, request)) if best else (),
        warnings=tuple(_warnings(best, request, catalog)) if best else (),
        not_chosen=(*not_chosen, *lost),
        excluded_models=tuple(excluded),
        break_even=_break_even(best, search) if best else None,
        reference=find_reference(request.users),
        findings=tuple(compare(best, candidates, request, catalog)),
    )


def _options(search: Search, hardware: list[Hardware]) -> tuple[list[Option], list[NotChosen]]:
    options: list[Option] = []
    not_chosen: list[NotChosen] = []
    failures: list[Failure] = []
    for machine in hardware:
        dear = over_budget(machine, search.request)
        if dear or "cpu" in machine.gpus:
            kind, reason = ("over_budget", dear) if dear else ("too_small", PROCESSOR)
            not_chosen.append(NotChosen(machine.label, kind, reason))
            continue
        given = bool(search.request.gpus)
        for found in search.of_each_model(machine) if given else [search.best(machine)]:
            fewer = next((o for o in options if _is_enough(o, found)), None)
            if isinstance(found, Failure):
                failures.append(found)
            elif fewer:
                reason = f"{fewer.hardware.label} are enough for as strong a model"
                not_chosen.append(NotChosen(machine.label, "dearer", reason))
            else:
                options.append(found)
    if search.request.gpus or not options:
        failures.sort(key=lambda f: (f.loss.users_served, f.loss.weights_fit), reverse=True)
    return options, [*not_chosen, *map(_too_small, failures)]


def _is_enough(fewer: Option, found: Option | Failure) -> bool:
    """Whether fewer of the same servers do: the costs do not hold a server's own price."""
    if isinstance(found, Failure) or "hosted" in {fewer.hardware.kind, found.hardware.kind}:
        return False
    is_fewer = fewer.hardware.machines < found.hardware.machines
    is_same = fewer.hardware.gpus == found.hardware.gpus
    return is_same and is_fewer and step(fewer.strength) >= step(found.strength)


def _too_small(failure: Failure) -> NotChosen:
    return NotChosen(failure.hardware.label, "too_small", failure.text)


def _reasons(best: Option, request: RecommendRequest) -> Iterator[str]:
    if request.has_limit:
        means = "the GPUs given" if request.gpus else "the budget"
        yield (
            f"the most benefit (strength and speed) for {counted(request.users)} within {means}; of"
            " nearly equal ones the cheapest"
        )
    else:
        yield (
            "the most benefit (strength and speed) over its cost, where a user with the best of"
            f" models is worth {request.needs.seat_eur_per_month:.0f} EUR a month"
        )
    yield (
        f"{counted(best.users_served)} at once, each with {request.needs.pace:g} tokens/s or more"
        f" and {best.sizing.context_tokens} tokens of context"
    )
    if request.with_completion:
        users = -(-request.users // best.hardware.machines)
        yield f"{completion_model(users)} completes code on the same GPUs: its memory is set aside"
    if best.sizing.kv_cache_dtype == "fp8":
        yield "the KV cache is kept in FP8: in 16 bits it does not hold all users"
    if best.candidate.converted:
        yield "no FP8 files are published: vLLM converts the weights when it starts"
    yield from map(reason_text, best.sizing.reasons)


def _warnings(best: Option, request: RecommendRequest, catalog: Catalog) -> Iterator[str]:
    yield "prices are the GPUs' alone (a Mac's: the machine's): add the server, room and staff"
    if best.tokens_per_second_per_user < request.needs.pace * (1 + ERROR):
        yield (
            f"{best.tokens_per_second_per_user:.1f} tokens/s each is an estimate (+- {ERROR:.0%}):"
            f" it may fall below {request.needs.pace:g}"
        )
    if best.hardware.price_eur is None:
        yield "no price is known for these GPUs: costs are left out"
    yield from map(reason_text, best.sizing.warnings)
    model = best.candidate.model
    yield from licence_warnings([model, "open-webui"], request.users, catalog, request.use)


def _break_even(best: Option, search: Search) -> BreakEven | None:
    request = search.request
    months, rented = _against_rent(best, search)
    saas, cost = request.saas_eur_per_million_tokens, best.eur_per_month
    tokens = break_even_million_tokens(cost, saas) if saas and cost is not None else None
    if tokens is None and not rented:
        return None
    capacity = million_tokens_per_month(best.tokens_per_second)
    return BreakEven(
        months_until_bought_is_cheaper=months,
        rented_as=rented,
        million_tokens_per_month=tokens,
        share_of_capacity=tokens / capacity if tokens is not None and capacity else None,
        million_tokens_per_user_per_month=None if tokens is None else tokens / request.users,
    )


def _against_rent(best: Option, search: Search) -> tuple[float | None, str]:
    owned = best.hardware.cost
    if owned is None or owned.kind != "bought":
        return None, ""
    asked = replace(search.request, gpus=best.hardware.gpus * best.hardware.machines)
    rented = [h for h in find_hardware(asked, search.catalog) if h.kind == "hosted"]
    if not rented:
        return None, ""
    cheapest = min(rented, key=lambda hardware: hardware.eur_per_month or 0.0)
    rent = cheapest.eur_per_month or 0.0
    return months_until(owned.price_eur, owned.power_eur_per_month, rent), cheapest.label
