"""A sizing for people, in 80 columns."""

from __future__ import annotations

from deploy.cli.paragraphs import print_list, print_text
from deploy.sizing import Fit, Sizing
from deploy.sizing.reasons_text import reason_text
from deploy.sizing.to_json import ESTIMATE

BAR = 50
VERDICTS = {Fit.YES: "fits", Fit.PROBABLY: "probably fits", Fit.NO: "does not fit"}


def print_sizing(sizing: Sizing) -> None:
    """Print the verdict, a memory bar, what users get, and every reason."""
    print_text(f"{sizing.model} on {_gpus(sizing)}: {_verdict(sizing)}")
    if sizing.supported and sizing.usable_gib_per_gpu:
        _print_memory(sizing)
    if sizing.fits:
        _print_users(sizing)
    print_list("reasons", map(reason_text, sizing.reasons))
    print_list("warnings", map(reason_text, sizing.warnings))
    print_list("not chosen", (_rejected(sizing)))


def _verdict(sizing: Sizing) -> str:
    if not sizing.supported:
        return "not supported"
    return VERDICTS[sizing.fits]


def _gpus(sizing: Sizing) -> str:
    counts = {name: sizing.gpus.count(name) for name in sizing.gpus}
    return " + ".join(f"{count}x {name}" for name, count in counts.items())


def _print_memory(sizing: Sizing) -> None:
    print_text(
        f"  {sizing.parameters_billion:.1f} billion parameters, {sizing.quantization}"
        f" ({sizing.dtype}), tensor parallel {sizing.tensor_parallel_size},"
        f" pipeline parallel {sizing.pipeline_parallel_size}{_ranks(sizing)},"
        f" replicas {sizing.replicas}"
    )
    print_text("")
    print_text(f"  each GPU  [{memory_bar(sizing)}] {sizing.usable_gib_per_gpu:.1f} GiB")
    parts = (
        ("#", "weights", sizing.weights_gib_per_gpu),
        ("+", "overhead", sizing.overhead_gib_per_gpu),
        ("=", "KV cache", sizing.kv_cache_gib_per_gpu),
    )
    for sign, name, gib in parts:
        print_text(f"            {sign} {name:10}{gib:8.2f} GiB")
    print_text("")


def _ranks(sizing: Sizing) -> str:
    count = sizing.data_parallel_size
    return f", data parallel {count}" if count > 1 else ""


def memory_bar(sizing: Sizing) -> str:
    """Weights, overhead and KV cache in one bar; what the engine leaves alone stays empty."""
    bar = ""
    parts = (
        ("#", sizing.weights_gib_per_gpu),
        ("+", sizing.overhead_gib_per_gpu),
        ("=", sizing.kv_cache_gib_per_gpu),
    )
    total = 0.0
    for sign, gib in parts:
        total += gib
        wanted = round(total / sizing.usable_gib_per_gpu * BAR)
        bar += sign * max(min(wanted, BAR) - len(bar), 0)
    return bar.ljust(BAR, ".")


def _print_users(sizing: Sizing) -> None:
    rows = [
        ("KV cache", f"{sizing.kv_cache_tokens} tokens per replica"),
        ("max_model_len", f"{sizing.max_model_len} (up to {sizing.max_model_len_that_fits} fit)"),
        ("users at once", f"{sizing.concurrent_users} with {sizing.context_tokens} tokens each"),
    ]
    if sizing.writes:
        rows += [
            ("speed", f"{sizing.tokens_per_second_per_user:.1f} tokens/s each"),
            ("", f"{sizing.tokens_per_second:.0f} tokens/s together ({ESTIMATE})"),
        ]
    for name, value in rows:
        print_text(f"  {name:16}{value}")
    print_text("")
    if sizing.at_the_limit:
        print_text("  " + reason_text(sizing.at_the_limit))


def _rejected(sizing: Sizing) -> list[str]:
    return [
        f"tensor parallel {r.tensor_parallel_size}, pipeline parallel"
        f" {r.pipeline_parallel_size}: {reason_text(r.reason)}"
        for r in sizing.rejected
    ]
