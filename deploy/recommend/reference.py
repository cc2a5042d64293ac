"""The reference architectures of the IDRIS slides, and where ours differ from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog import Catalog
from deploy.recommend.candidates import Candidate
from deploy.recommend.evaluate import Option, evaluate
from deploy.recommend.hardware import Hardware, buy, gpus_text
from deploy.recommend.request import RecommendRequest
from deploy.recommend.search import Failure, best_of
from deploy.spec.engine_kinds import EngineKind

SOURCE = "IDRIS slides, 2025-04-01"
FAMILIES = ("Qwen2.5-Coder", "StarCoder2", "DeepSeek-Coder-V2", "Code Llama", "OpenCodeInterpreter")
"""The families that the slides name."""
SLIDES_USERS_PER_H100 = 70
SLIDES_MODEL = "qwen2.5-coder-32b"
"""What the slides' H100 figures are nearest to; they do not name their model."""


@dataclass(frozen=True)
class Reference:
    """One row of the slides' table."""

    most_users: int
    """It is compared with up to so many users; the last one with any number."""
    users: str
    gpus: tuple[tuple[str, ...], ...]
    """Each hardware that it names."""
    engine: EngineKind
    sizes: str
    billion: tuple[float, float]
    """What counts as that size: 14B and 15B as 13B, 30B and 32B as 34B, 70B as 65B."""


REFERENCES = (
    Reference(3, "1-3", (("rtx-3060",), ("mac-studio-256",)), "ollama", "7B-13B", (6.5, 16)),
    Reference(50, "20", (("l40s",), ("rtx-3090",) * 2), "vllm", "13B-34B", (12.5, 35)),
    Reference(100_000, "100", (("h100",) * 4,), "vllm", "34B-65B", (30, 72)),
)


@dataclass(frozen=True)
class Finding:
    """What became of one statement of the reference."""

    subject: str
    verdict: str
    """``agrees``, ``partly`` or ``disagrees``."""
    text: str


def find_reference(users: int) -> Reference:
    """The row for so many users."""
    return next(row for row in REFERENCES if users <= row.most_users)


def compare(
    best: Option | None,
    candidates: list[Candidate],
    request: RecommendRequest,
    catalog: Catalog,
) -> list[Finding]:
    """The reference for that number of users against our figures."""
    row = find_reference(request.users)
    findings = [
        finding
        for gpus in row.gpus
        if (hardware := buy(gpus, request.rates, catalog))
        for finding in _hardware_finding(hardware, row, candidates, request, catalog)
    ]
    if best is not None:
        findings.append(_choice_finding(best, row, request, catalog))
    if row is REFERENCES[-1]:
        findings += _per_card_finding(candidates, request, catalog)
    return findings


def _hardware_finding(
    hardware: Hardware,
    row: Reference,
    candidates: list[Candidate],
    request: RecommendRequest,
    catalog: Catalog,
) -> Iterator[Finding]:
    low, high = row.billion
    fitting = [
        c for c in candidates if c.engine == row.engine and low <= c.parameters_billion <= high
    ]
    theirs = [c for c in fitting if catalog.models[c.model].family in FAMILIES]
    found = best_of(hardware, fitting, request, catalog)
    own = best_of(hardware, theirs, request, catalog)
    largest = best_of(hardware, _largest(theirs), request, catalog)
    text = f"of {row.sizes}, {_outcome(found)}"
    if isinstance(own, Option) and _model(own) != _model(found):
        text += f"; of the slides' own models, {_outcome(own)}"
    verdict = "agrees" if isinstance(found, Option) else "disagrees"
    if isinstance(largest, Failure):
        text += f"; not the largest: {largest.text}"
        verdict = "partly" if isinstance(found, Option) else verdict
    yield Finding(hardware.label, verdict, text)


def _largest(candidates: list[Candidate]) -> list[Candidate]:
    most = max((c.parameters_billion for c in candidates), default=0.0)
    return [c for c in candidates if c.parameters_billion > most / 1.15]


def _model(found: Option | Failure) -> str:
    return found.candidate.model if found.candidate else ""


def _outcome(found: Option | Failure) -> str:
    if isinstance(found, Failure):
        return f"none serves all ({found.text})"
    return (
        f"{found.candidate.text} serves {found.users_served}"
        f" at once, {found.tokens_per_second_per_user:.0f} tokens/s each with {found.users}"
    )


def _choice_finding(
    best: Option, row: Reference, request: RecommendRequest, catalog: Catalog
) -> Finding:
    named = [gpus_text(gpus) for gpus in row.gpus]
    if best.hardware.gpus in row.gpus and best.hardware.machines == 1:
        return Finding("our choice", "agrees", f"{gpus_text(best.hardware.gpus)} is theirs too")
    costs = [
        f"{gpus_text(gpus)} {owned.eur_per_month:,.0f}"
        for gpus in row.gpus
        if (owned := buy(gpus, request.rates, catalog)) and owned.eur_per_month is not None
    ]
    ours = "?" if best.eur_per_month is None else f"{best.eur_per_month:,.0f}"
    model = f"{best.candidate.model} ({best.candidate.parameters_billion:.0f} billion)"
    text = (
        f"{best.hardware.label} with {model}, {ours} EUR a month, instead of"
        f" {' or '.join(named)} (a month: {', '.join(costs)} EUR): {_why(best, row, request)}"
    )
    return Finding("our choice", "disagrees", text)


def _why(best: Option, row: Reference, request: RecommendRequest) -> str:
    low, high = row.billion
    size = best.candidate.parameters_billion
    if request.gpus:
        return "these are the GPUs there are"
    if request.has_limit:
        return "the strongest model within the budget"
    if size > high:
        return f"it serves a larger model than {row.sizes}, for the best strength per EUR"
    if size < low:
        return f"a newer model smaller than {row.sizes} is as strong or stronger, for less"
    return f"models of {row.sizes} run on less, or on more for little more"


def _per_card_finding(
    candidates: list[Candidate], request: RecommendRequest, catalog: Catalog
) -> Iterator[Finding]:
    """The slides' 70 users of one H100, at the context that is asked for."""
    hardware = buy(("h100",), request.rates, catalog)
    most = 0
    for candidate in candidates:
        if hardware and candidate.model == SLIDES_MODEL and candidate.engine == "vllm":
            most = max(most, evaluate(hardware, candidate, request, catalog).users_served)
    if not most or hardware is None:
        return
    enough = most >= SLIDES_USERS_PER_H100
    price = hardware.price_eur or 0.0
    yield Finding(
        "70 users per H100",
        "agrees" if enough else "disagrees",
        f"{SLIDES_MODEL} answers {most} at once on one H100 with {request.context} tokens each:"
        f" {price / most:,.0f} EUR and {hardware.power_watts / most:.0f} W per user; the slides'"
        " 70 (429 EUR, 10 W) hold for short requests or for users who do not all ask at once",
    )
