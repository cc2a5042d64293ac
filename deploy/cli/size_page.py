"""One model on GPUs as a page: memory of each card, and users against context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.cli.diagram import Bar, lines, page, stacked_bars, text_list
from deploy.sizing import Sizing, SizingRequest
from deploy.sizing.engines import size_request
from deploy.sizing.reasons_text import reason_text
from deploy.sizing.to_json import ESTIMATE

CONTEXTS = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
PARTS = ("weights", "overhead", "KV cache")


def write_sizing_page(path: Path, request: SizingRequest, sizing: Sizing) -> None:
    """Write the page of one sizing."""
    gpus = ", ".join(dict.fromkeys(sizing.gpus))
    memory = stacked_bars(PARTS, [memory_bar(f"each of {len(sizing.gpus)} x {gpus}", sizing)])
    users, speed = _against_context(request, sizing)
    path.write_text(
        page(
            f"{sizing.model} on {len(sizing.gpus)} x {gpus}",
            (
                ("Memory of each card", memory),
                ("Requests at once, against their context", lines("tokens each", "users", users)),
                ("Speed, against requests at once", lines("users", "tokens/s each", speed)),
                ("What it says", text_list(map(reason_text, (*sizing.reasons, *sizing.warnings)))),
                ("How far to trust it", text_list([ESTIMATE])),
            ),
        ),
        encoding="utf-8",
    )


def memory_bar(label: str, sizing: Sizing) -> Bar:
    """The bar of one card."""
    parts = (
        sizing.weights_gib_per_gpu,
        sizing.overhead_gib_per_gpu,
        sizing.kv_cache_gib_per_gpu,
    )
    return Bar(label, parts, sizing.usable_gib_per_gpu)


Series = dict[str, list[tuple[float, float]]]


def _against_context(request: SizingRequest, sizing: Sizing) -> tuple[Series, Series]:
    limit = sizing.max_model_len_that_fits
    held, speed = [], []
    for context in CONTEXTS:
        if context <= limit:
            asked = replace(request, context_tokens=context, users=None, max_model_len=None)
            held.append((float(context), float(size_request(asked).concurrent_users)))
    most = max((users for _, users in held), default=0)
    users = 1
    while users <= most and users <= sizing.concurrent_users * 2:
        found = size_request(replace(request, users=users))
        speed.append((float(users), found.tokens_per_second_per_user))
        users *= 2
    return {"requests that the KV cache holds": held}, {
        f"tokens/s of each, {sizing.context_tokens} tokens of context": speed
    }
