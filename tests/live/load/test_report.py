"""From what was measured to figures and verdicts."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy.cli.load_page import write_load_page
from deploy.cli.load_text import folded, load_to_json, rows, summary, verdict_text
from deploy.cli.output import console
from deploy.live.load import sample as outcomes
from deploy.live.load.figures import Part, tokens_over_time
from deploy.live.load.percentiles import percentiles
from deploy.live.load.promise import Promise
from deploy.live.load.queue import WAITING, Queue, read
from deploy.live.load.report import LoadReport, report
from deploy.live.load.sample import Sample
from deploy.live.load.session import Measured
from deploy.live.load.verdicts import Kind, Measure, Verdict
from deploy.live.load.workload import SHAPES, Use

VLLM = """\
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a"} 3.0
vllm:num_requests_waiting{engine="1",model_name="a"} 4.0
vllm:num_requests_waiting_by_reason{engine="0"} 9.0
"""


SGLANG = """\
# HELP sglang:num_queue_reqs The number of requests in the waiting queue.
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="a",pp_rank="0",priority="",tp_rank="0"} 5.0
sglang:num_queue_reqs{model_name="a",pp_rank="0",priority="-1",tp_rank="0"} 2.0
sglang:num_queue_reqs{model_name="a",pp_rank="0",priority="0",tp_rank="0"} 3.0
sglang:num_queue_reqs{model_name="a",pp_rank="1",priority="",tp_rank="0"} 5.0
"""


def answer(begun: float, first: float, speed: float, tokens: int = 33) -> Sample:
    """An answer whose first token took so long, and the others came at that speed."""
    sample = Sample(Use.COMPLETIONS, begun, prompt_tokens=900)
    for index in range(tokens):
        sample.came(begun + first + index / speed, "x")
    sample.ended = begun + first + (tokens - 1) / speed
    sample.outcome, sample.tokens = outcomes.ANSWERED, tokens
    return sample


def failed(outcome: str) -> Sample:
    return Sample(Use.COMPLETIONS, 1.0, ended=1.1, outcome=outcome)


def load(*samples: Sample, promise: Promise | None = None) -> LoadReport:
    measured = Measured(list(samples), [Queue(0, 2, 4), Queue(1, 6, 4)], seconds=10.0)
    part = Part(SHAPES[Use.COMPLETIONS], "m", 3, promise)
    return report(measured, [part], "lab", "https://ai.lab", through_ssh=False)


def test_percentiles_are_of_those_who_fared_worst() -> None:
    waits = percentiles(range(1, 101))
    speeds = percentiles(range(1, 101), high_is_good=True)
    assert waits
    assert (waits.p50, waits.p95, waits.p99, waits.count) == (50, 95, 99, 100)
    assert speeds
    assert (speeds.p50, speeds.p95, speeds.p99) == (51, 6, 2)
    assert percentiles([None]) is None
    one = percentiles([None, 7.0])
    assert one
    assert (one.p50, one.p99, one.count) == (7.0, 7.0, 1)


def test_figures_of_one_use() -> None:
    samples = [answer(0, 0.2, 50), answer(1, 0.4, 25), answer(2, 0.6, 100)]
    [use] = load(*samples, failed(outcomes.CANCELLED), failed("HTTP 503")).uses
    assert (use.requests, use.answered, use.cancelled) == (5, 3, 1)
    assert use.errors == {"HTTP 503": 1}
    assert use.first_token_seconds
    assert use.first_token_seconds.p50 == pytest.approx(0.4)
    assert use.tokens_per_second_per_person
    assert use.tokens_per_second_per_person.p50 == pytest.approx(50)
    assert use.tokens_per_second_per_person.p95 == pytest.approx(25)
    assert use.token_gap_seconds
    assert use.token_gap_seconds.p99 == pytest.approx(0.04)
    assert (use.tokens, use.tokens_per_second, use.prompt_tokens) == (99, 9.9, 900)


def kinds(found: LoadReport) -> dict[Measure, Kind]:
    return {each.measure: each.kind for each in found.uses[0].verdicts}


@pytest.mark.parametrize(
    ("speed", "first", "wanted"),
    [
        (101, 0.1, (Kind.KEPT, Kind.KEPT)),
        (70, 0.3, (Kind.WITHIN_ERROR, Kind.WITHIN_ERROR)),
        (50, 0.9, (Kind.MISSED, Kind.MISSED)),
    ],
)
def test_the_promise_is_kept_or_not(speed: float, first: float, wanted: tuple[Kind, Kind]) -> None:
    promise = Promise(3, 3, 100.0, 0.2)
    samples = [answer(float(i), first, speed) for i in range(6)]
    found = kinds(load(*samples, promise=promise))
    assert (found[Measure.SPEED], found[Measure.FIRST_TOKEN]) == wanted
    assert found[Measure.ERRORS] is Kind.KEPT


def test_without_a_promise_people_read_all_the_same() -> None:
    slow = load(*[answer(float(i), 0.1, 5) for i in range(6)])
    assert Measure.SPEED not in kinds(slow)
    assert kinds(slow)[Measure.PACE] is Kind.MISSED
    assert kinds(slow)[Measure.COMPLETION] is Kind.MISSED
    few = load(answer(0, 0.1, 100), failed(outcomes.TOO_MANY))
    assert kinds(few)[Measure.PACE] is Kind.NOT_MEASURED
    assert kinds(few)[Measure.ERRORS] is Kind.MISSED
    assert few.uses[0].too_many == 1
    assert few.uses[0].errors == {}


def test_in_plain_words() -> None:
    found = load(*[answer(float(i), 0.1, 70) for i in range(6)], promise=Promise(9, 6, 100.0, 0.2))
    [use] = found.uses
    texts = [verdict_text(use, verdict) for verdict in use.verdicts]
    assert texts[0] == (
        "Completions: half of the answers came with 70.0 tokens/s or more, the plan promises 100.0"
        " to each of 6 of 9 people at once, others wait: less, but within the error of the"
        " estimate (40 %)."
    )
    assert "slower than people read" not in " ".join(texts)
    said = list(summary(found))
    assert said[0] == "3 people at https://ai.lab for 10 s: 19.8 tokens/s in all."
    assert said[2].startswith("In the engines 4 at once and 6 waiting at most; 4.0 waiting")
    nothing = Verdict(Measure.PACE, Kind.NOT_MEASURED, None, 10)
    assert verdict_text(use, nothing) == "Completions: too few answers to judge pace."


def waiting(outcome: str, seconds: float) -> Sample:
    """A request without a token until somebody stopped waiting."""
    return Sample(Use.COMPLETIONS, 2.0, ended=2.0 + seconds, outcome=outcome)


def test_who_waits_in_vain_is_no_reason_to_praise() -> None:
    """Ten of a hundred are answered at once, and all others never."""
    answered = [answer(float(i), 0.1, 110) for i in range(10)]
    never = [waiting(outcomes.UNFINISHED, 98.0) for _ in range(90)]
    found = load(*answered, *never, promise=Promise(100, 100, 100.0, 0.2))
    assert kinds(found)[Measure.FIRST_TOKEN] is Kind.MISSED
    assert kinds(found)[Measure.COMPLETION] is Kind.MISSED
    [use] = found.uses
    assert use.first_token_seconds
    assert (use.first_token_seconds.count, use.first_token_seconds.waited) == (10, 90)
    texts = [verdict_text(use, verdict) for verdict in use.verdicts]
    assert texts[1] == (
        "Completions: half of the first tokens had not come after 98.00 s, the plan promises 0.20 s"
        " to a prompt that waits for nothing: the promise is not kept."
    )
    assert "more than 5 % were not whole after 98.00 s: so late" in texts[3]
    assert next(rows(use)) == ["first token, s", ">98.00", ">98.00", ">98.00", "0.20"]


def test_who_gives_up_early_says_little() -> None:
    answered = [answer(float(i), 0.4, 200) for i in range(6)]
    early = [waiting(outcomes.CANCELLED, 0.1) for _ in range(6)]
    promise = Promise(9, 9, 100.0, 0.5)
    assert kinds(load(*answered, *early, promise=promise))[Measure.FIRST_TOKEN] is Kind.KEPT
    alone = kinds(load(*early, promise=promise))
    assert (alone[Measure.FIRST_TOKEN], alone[Measure.COMPLETION]) == (Kind.NOT_MEASURED,) * 2


def test_what_is_refused_has_not_waited() -> None:
    answered = [answer(float(i), 0.3, 100) for i in range(6)]
    refused = [failed(outcomes.TOO_MANY), failed("HTTP 504")]
    [use] = load(*answered, *refused).uses
    assert use.first_token_seconds
    assert (use.first_token_seconds.count, use.first_token_seconds.waited) == (6, 0)


def test_what_most_failures_were() -> None:
    failures = ["HTTP 500", "HTTP 500", outcomes.CUT, outcomes.CUT, *[outcomes.TOO_MANY] * 3]
    [use] = load(answer(0, 0.1, 70), *(failed(kind) for kind in failures)).uses
    said = verdict_text(use, use.verdicts[-1])
    assert said.endswith("88% of the requests failed, most with 429, too many requests.")


def test_sentences_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 40)
    assert max(map(len, folded("so many words " * 20))) <= 40


def test_a_machine_that_plays_too_many_says_so() -> None:
    part = Part(SHAPES[Use.COMPLETIONS], "m", 3, None)
    for late, says_so in ((0.0, False), (0.4, True)):
        measured = Measured([answer(0, 0.1, 70)], late=[late] * 20, seconds=10.0)
        found = report(measured, [part], "lab", "ai.lab", through_ssh=False)
        assert found.late_seconds == late
        assert any("was late itself, by up to 0.40 s" in line for line in summary(found)) is says_so


def test_json_has_every_figure() -> None:
    found = load_to_json(load(answer(0, 0.1, 70)))
    assert found["uses"][0]["first_token_seconds"]["p50"] == pytest.approx(0.1)
    assert found["queue"]["most_waiting"] == 6


def test_tokens_over_time() -> None:
    rows = tokens_over_time([answer(0, 0.5, 10, tokens=11), failed("x")], 3.0)
    assert rows == [(0.0, 5.0), (1.0, 6.0), (2.0, 0.0)]


def test_waiting_requests_of_all_engines() -> None:
    assert read(VLLM, "vllm:num_requests_waiting") == 7
    assert read("llamacpp:requests_deferred 2\n", "llamacpp:requests_deferred") == 2
    assert read(SGLANG, WAITING["sglang"]) == 5
    assert read("# TYPE tgi_queue_size gauge\ntgi_queue_size 4\n", WAITING["tgi"]) == 4
    assert read("", "vllm:num_requests_waiting") == 0


@pytest.mark.parametrize("samples", [[], [answer(float(i), 0.1, 70) for i in range(6)]])
def test_a_page_is_self_contained(tmp_path: Path, samples: list[Sample]) -> None:
    measured = Measured(samples, [Queue(0, 2, 4), Queue(1, 6, 4)], seconds=10.0)
    part = Part(SHAPES[Use.COMPLETIONS], "<m>", 3, Promise(3, 3, 100.0, 0.2))
    found = report(measured, [part], "lab", "ai.lab", through_ssh=False)
    path = tmp_path / "page.html"
    write_load_page(path, found, measured)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|url\(|<img|<link|<m>", text)
    for one in re.findall(r"<svg.*?</svg>", text):
        ElementTree.fromstring(one)  # noqa: S314  our own
        assert "nan" not in one
    assert len(re.findall("<svg", text)) == (4 if samples else 2)
