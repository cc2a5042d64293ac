"""LiteLLM's daily figures, added up."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from deploy.errors import SpecError
from deploy.people.usage import Usage, add_up, first_day

TODAY = date(2026, 3, 10)


def day(part: str, **rows: tuple[int, int, int, int, float]) -> dict[str, Any]:
    names = ("api_requests", "failed_requests", "prompt_tokens", "completion_tokens", "spend")
    found = {name: {"metrics": dict(zip(names, row, strict=True))} for name, row in rows.items()}
    return {"breakdown": {part: found}}


def test_days_are_added_up_most_tokens_first() -> None:
    days = [
        day("entities", ada=(1, 0, 10, 5, 0.5), bob=(9, 2, 90, 9, 1.0)),
        day("entities", ada=(2, 1, 100, 5, 0.25)),
    ]
    assert add_up(days, "user") == [
        Usage("ada", 3, 1, 110, 10, 0.75),
        Usage("bob", 9, 2, 90, 9, 1.0),
    ]


def test_what_nobody_used_has_a_name_that_says_so() -> None:
    """LiteLLM counts the master key's use, and so the web UI's, for a user of its own."""
    rows = {"default_user_id": (3, 0, 9, 9, 0.0), "Unassigned": (1, 0, 1, 1, 0.0)}
    names = [usage.name for usage in add_up([day("entities", **rows)], "user")]
    assert names == ["(master key)", "(no team)"]


def test_models_are_told_apart_by_what_clients_ask_for() -> None:
    days = [day("model_groups", coder=(1, 0, 10, 5, 0.5)), day("entities", ada=(1, 0, 1, 1, 1))]
    assert [usage.name for usage in add_up(days, "model")] == ["coder"]


@pytest.mark.parametrize(
    ("since", "first"),
    [("7d", date(2026, 3, 3)), ("2w", date(2026, 2, 24)), ("2026-01-31", date(2026, 1, 31))],
)
def test_the_first_day(since: str, first: date) -> None:
    assert first_day(since, TODAY) == first


def test_what_is_no_time() -> None:
    with pytest.raises(SpecError) as refused:
        first_day("0d", TODAY)
    assert str(refused.value) == (
        "--since: '0d'\n    allowed: days or weeks such as 7d or 2w, or a date such as 2026-01-31"
    )
