"""A comparison of engines for people, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.cli.output import print_table
from deploy.cli.paragraphs import print_list, print_text
from deploy.cli.size_text import VERDICTS
from deploy.plan.side_by_side import EngineAnswer, Question
from deploy.sizing.reasons import ReasonKind
from deploy.sizing.reasons_text import INVENTORY, reason_text
from deploy.sizing.to_json import ESTIMATE

COLUMNS = [
    *("Engine", "fits", "loads", "context", "users", "tok/s", "all", "cache", "licence"),
]
NUMBERS = ["context", "users", "tok/s", "all", "cache"]
NONE = "-"
MEMORY = {ReasonKind.MEMORY, ReasonKind.LAYERS_ON_CPU}


def print_comparison(question: Question, answers: Sequence[EngineAnswer]) -> None:
    """Print the table, and below it why not, what to know, and what one gives up with each."""
    names = [device.name for device in question.devices]
    gpus = " + ".join(f"{names.count(name)}x {name}" for name in dict.fromkeys(names))
    rows = [_row(answer) for answer in answers]
    print_table(f"{question.model} on {gpus}", COLUMNS, rows, NUMBERS, whole=("Engine", "fits"))
    print_text(_legend(question, answers))
    fitting = [answer for answer in answers if answer.sizing.fits]
    print_list("why not", (_why_not(answer) for answer in answers if answer not in fitting))
    print_list("weights", map(_weights, fitting))
    shared = [answer for answer in fitting if answer.traits.shares_cache]
    print_list("GPUs", map(_arrangement, shared if len(question.devices) > 1 else ()))
    print_list("images", (line for answer in fitting for line in _images(answer)))
    print_list("to know", _to_know(fitting))
    print_list("what you give up", map(_gives_up, fitting))


def _row(answer: EngineAnswer) -> list[str]:
    sizing = answer.sizing
    licence = answer.images[0].licence if answer.images else NONE
    if not sizing.fits:
        return [answer.traits.title, "no", *[NONE] * 6, licence]
    return [
        answer.traits.title,
        sizing.fits.value,
        _loads(answer),
        str(answer.one.max_model_len_that_fits),
        str(sizing.concurrent_users),
        *_speeds(answer),
        f"{sizing.kv_cache_tokens * sizing.replicas / 1000:.0f}k",
        licence,
    ]


def _speeds(answer: EngineAnswer) -> tuple[str, str]:
    """Of one user alone, and of all together."""
    if not answer.sizing.writes:
        return NONE, NONE
    most = "<" if answer.is_upper_bound else ""
    together = f"{most}{answer.sizing.tokens_per_second:.0f}"
    return f"{answer.one.tokens_per_second_per_user:.0f}", together


def _loads(answer: EngineAnswer) -> str:
    sizing = answer.sizing
    return sizing.dtype if sizing.quantization == "none" else sizing.quantization


def _legend(question: Question, answers: Sequence[EngineAnswer]) -> str:
    tokens = next((a.sizing.context_tokens for a in answers if a.sizing.context_tokens), 0)
    each = f" with {tokens} tokens each" if tokens else ""
    together = f"{question.users} users" if question.users else "as many users as are answered"
    return (
        f"context: the longest request, in tokens. users: at once{each}. tok/s: of one user alone;"
        f" all: of {together}, together. cache: thousands of tokens in"
        f" the KV caches of all replicas. Speeds: {ESTIMATE}; <: less than that."
    )


def _why_not(answer: EngineAnswer) -> str:
    whys = "; ".join(reason_text(each, INVENTORY) for each in answer.sizing.reasons)
    what = (
        f" with {_loads(answer)} weights"
        if MEMORY & {each.kind for each in answer.sizing.reasons}
        else ""
    )
    return f"{answer.traits.title}{what}: {whys}"


def _weights(answer: EngineAnswer) -> str:
    chosen, title = answer.chosen, answer.traits.title
    where = chosen.source if chosen and chosen.source else "to be declared (weights, or path)"
    others = [
        f"{each.quantization} {VERDICTS[each.fits]}"
        for each in answer.weights
        if each is not chosen
    ]
    more = f" ({', '.join(others)})" if others else ""
    return f"{title}: {answer.traits.weights}, {answer.sizing.quantization}, {where}{more}"


def _arrangement(answer: EngineAnswer) -> str:
    sizing = answer.sizing
    return (
        f"{answer.traits.title}: tensor parallel {sizing.tensor_parallel_size}, pipeline parallel"
        f" {sizing.pipeline_parallel_size}, replicas {sizing.replicas}"
    )


def _images(answer: EngineAnswer) -> Iterator[str]:
    for image in answer.images:
        cuda = f", CUDA {image.cuda}" if image.cuda else ""
        yield f"{answer.traits.title}: {image.reference} ({image.licence}{cuda})"


def _to_know(answers: Sequence[EngineAnswer]) -> Iterator[str]:
    """What sizing warns of; what is said of several engines, once."""
    titles: dict[str, list[str]] = {}
    for answer in answers:
        for text in _said(answer):
            titles.setdefault(text, []).append(answer.traits.title)
    for text, said_of in titles.items():
        everyone = len(said_of) == len(answers) > 1
        yield f"{'all' if everyone else ', '.join(said_of)}: {text}"


def _said(answer: EngineAnswer) -> Iterator[str]:
    yield from (reason_text(each, INVENTORY) for each in answer.sizing.warnings)
    if answer.sizing.at_the_limit:
        yield reason_text(answer.sizing.at_the_limit, INVENTORY)


def _gives_up(answer: EngineAnswer) -> str:
    return f"{answer.traits.title}: {'; '.join(answer.trade_offs)}"
