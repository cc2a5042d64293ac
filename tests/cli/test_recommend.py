"""``atelier recommend``."""

import json
from pathlib import Path

import pytest

from tests.cli.run import run
from tests.golden import assert_golden

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.golden
@pytest.mark.parametrize("users", [3, 20, 100])
def test_the_text_for_the_references_is_as_kept(users: int) -> None:
    printed = run("recommend", "--users", str(users))
    assert_golden(GOLDEN / f"recommend_{users}.txt", printed)
    assert max(map(len, printed.splitlines())) <= 80


def test_json_has_the_documented_keys() -> None:
    answer = json.loads(run("recommend", "--users", "20", "--json"))
    documented = (Path(__file__).parents[2] / "docs/reference-recommend.md").read_text("utf-8")
    keys = [*answer, *answer["recommended"], *answer["request"], *answer["reference"]]
    assert [key for key in keys if f"`{key}`" not in documented] == []
    assert answer["recommended"] == answer["options"][0]


def test_a_check_of_the_reference_for_100() -> None:
    answer = json.loads(run("recommend", "--gpus", "4x h100", "--users", "100", "--json"))
    assert answer["recommended"]["gpus"] == ["h100"] * 4
    assert answer["reference"]["users"] == "100"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--users", "0"], "users: 0\n    allowed: a whole number from 1 to 100000"),
        (["--users", "5", "--years", "0"], "years: 0\n    allowed: a number from 0.1 to 20"),
        (["--users", "5", "--years", "nan"], "years: nan\n    allowed: a number from 0.1 to 20"),
        (
            ["--users", "5", "--eur-per-kwh", "-1"],
            "eur_per_kwh: -1\n    allowed: a number from 0 to 10",
        ),
        (
            ["--users", "5", "--utilization", "2"],
            "utilization: 2\n    allowed: a number from 0.001 to 1",
        ),
        (
            ["--users", "5", "--budget", "0"],
            "budget: 0\n    allowed: a number from 1 to 1,000,000,000",
        ),
        (
            ["--users", "5", "--budget-per-month", "-5"],
            "budget_per_month: -5\n    allowed: a number from 1 to 1,000,000,000",
        ),
        (
            ["--users", "5", "--context", "0"],
            "context: 0\n    allowed: a whole number from 1 to 100000000",
        ),
        (
            ["--users", "5", "--saas-eur-per-million-tokens", "0"],
            "saas_eur_per_million_tokens: 0\n    allowed: a number from 0.0001 to 1,000,000",
        ),
        (["--users", "5", "--gpus", "2 of them"], "gpus: '2 of them' is not in the catalogue"),
        (["--users", "5", "--use", "fun"], "Invalid value for '--use': 'fun' is not one of"),
        (["--gpus", "l40s"], "Missing option '--users'"),
    ],
)
def test_bad_options(arguments: list[str], message: str) -> None:
    answer = json.loads(run("recommend", *arguments, "--json", status=1))
    assert answer["error"].startswith(message)


def test_where_nothing_will_do_it_says_so() -> None:
    printed = run("recommend", "--users", "20", "--budget", "100")
    assert "Nothing is enough: allow more GPUs or budget" in printed
    assert "over the budget: 1x rtx-3060 (261 EUR, --budget is 100)" in printed
    answer = json.loads(run("recommend", "--users", "20", "--budget", "100", "--json"))
    assert (answer["recommended"], answer["options"]) == (None, [])
