"""A load as a page: how soon the first tokens came, how fast the others, and what waited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.cli.diagram import Series, curves, page, table, text_list
from deploy.cli.load_text import COLUMNS, rows, summary, title_of, verdict_text
from deploy.live.load.figures import first_tokens, tokens_over_time
from deploy.live.load.percentiles import shares
from deploy.live.load.report import LoadReport, UseReport
from deploy.live.load.session import Measured

HOW = (
    "half, 95 %, 99 %: so many are no worse than this; who stopped waiting counts as waiting until"
    " then, and > means that it had not come for so many",
    "the plan: what it estimates for so many people who all ask at once, docs/sizing.md",
    "simulated people ask for made-up code: how long they pause is an assumption, docs/load.md",
)
MOST_POINTS = 200


def write_load_page(path: Path, found: LoadReport, measured: Measured) -> None:
    """Write the page of one load."""
    title = f"{found.deployment}: {found.people} people for {found.seconds:.0f} s"
    path.write_text(page(title, _sections(found, measured)), encoding="utf-8")


def _sections(found: LoadReport, measured: Measured) -> Iterator[tuple[str, str]]:
    verdicts = [verdict_text(use, verdict) for use in found.uses for verdict in use.verdicts]
    yield "What it says", text_list(verdicts)
    for use in found.uses:
        yield title_of(use), table(COLUMNS, rows(use))
    first = {use.use.value: _shares(use, measured, "first") for use in found.uses}
    yield "First token: share of requests that had it by then", curves("seconds", "%", first)
    speed = {use.use.value: _shares(use, measured, "speed") for use in found.uses}
    yield "Speed: share of answers that were no slower", curves("tokens/s", "%", speed)
    over_time = {"tokens/s of all together": tokens_over_time(measured.samples, measured.seconds)}
    yield "Tokens over time", curves("seconds", "tokens/s", over_time)
    if measured.queue:
        waiting = {
            "waiting": [(each.seconds, float(each.waiting)) for each in measured.queue],
            "answered at once": [(each.seconds, float(each.running)) for each in measured.queue],
        }
        yield "Requests in the engines", curves("seconds", "requests", waiting)
    yield "What was asked", text_list(summary(found))
    yield "How to read it", text_list(HOW)


def _shares(use: UseReport, measured: Measured, what: str) -> Series:
    samples = [each for each in measured.samples if each.use is use.use]
    if what == "first":
        return _fewer([(seconds, 100 * part) for seconds, part in shares(*first_tokens(samples))])
    speeds = (each.tokens_per_second for each in samples)
    known = sorted((v for v in speeds if v is not None), reverse=True)
    return _fewer([(value, 100 * (i + 1) / len(known)) for i, value in enumerate(known)])[::-1]


def _fewer(points: Series) -> Series:
    """As many as a diagram needs, the last one among them."""
    step = max(len(points) // MOST_POINTS, 1)
    return [*points[::step], *points[-1:]]
