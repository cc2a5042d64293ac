"""Priorities are the operator's, whatever a client sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def priorities(load: Callable[[str], Any]) -> Any:
    module = load("atelier_priorities")
    return module.Priorities(completions={"coder": -1, "fast": -5}, others={"coder": 0, "fast": -5})


@pytest.mark.parametrize(
    ("model", "kind", "priority"),
    [
        ("coder", "atext_completion", -1),
        ("coder", "acompletion", None),
        ("fast", "atext_completion", -5),
        ("fast", "anthropic_messages", -5),
        ("another engine's", "atext_completion", None),
    ],
)
def test_each_name_has_its_own(
    priorities: Any, model: str, kind: str, priority: int | None
) -> None:
    made = priorities.put_on({"model": model}, kind)
    assert made.get("extra_body", {}).get("priority") == priority


def test_a_client_cannot_forge_one(priorities: Any) -> None:
    forged = {
        "model": "coder",
        "priority": -100,
        "extra_body": {"priority": -100, "top_k": 1},
        "extra_headers": {"X-Vllm-Priority": "-100"},
    }
    assert priorities.put_on(forged, "acompletion") == {
        "model": "coder",
        "extra_body": {"top_k": 1},
    }
    completion = priorities.put_on(forged, "atext_completion")
    assert completion["extra_body"] == {"top_k": 1, "priority": -1}
    assert forged["priority"] == -100, "what was given stays as it is"


def test_what_is_no_mapping_is_left_out(priorities: Any) -> None:
    assert priorities.put_on({"model": "fast", "extra_body": [1]}, "acompletion") == {
        "model": "fast",
        "extra_body": {"priority": -5},
    }
