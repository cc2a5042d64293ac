"""The plans of the three profiles, word for word and key by key."""

import json

import pytest

from tests.cli.run import run
from tests.golden import assert_golden
from tests.plan.goldens import (
    ALL,
    DOCUMENT,
    GOLDEN,
    ROOT,
    document,
    json_of,
    plan_of,
    text_of,
)

REFERENCE = ROOT / "docs" / "reference-plan.md"


@pytest.mark.golden
@pytest.mark.parametrize("name", ALL)
def test_text_is_as_written(name: str) -> None:
    text = text_of(plan_of(name))
    assert_golden(GOLDEN / f"{name}.txt", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.golden
@pytest.mark.parametrize("name", ALL)
def test_json_is_as_written(name: str) -> None:
    assert_golden(GOLDEN / f"{name}.json", json_of(plan_of(name)))


@pytest.mark.golden
def test_the_document_is_not_stale() -> None:
    assert_golden(DOCUMENT, document())


def test_the_table_of_the_readme_is_not_stale() -> None:
    names = ("individual", "users_20", "users_100")
    plans = [json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    chats, costs = [plan["models"][0] for plan in plans], [plan["cost"] for plan in plans]
    rows = {
        "at once, 8192 tokens each": [str(chat["concurrent_users"]) for chat in chats],
        "tokens/s for each (estimate)": [
            f"{chat['tokens_per_second_per_user']:.0f}" for chat in chats
        ],
        "GPUs bought, a month": [
            f"{cost['eur_per_month']:.0f} EUR, {cost['eur_per_month_per_user']:.2f} for each user"
            for cost in costs
        ],
    }
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in lines if line not in readme] == []


def test_the_command_prints_the_same() -> None:
    path = str(ROOT / "inventories" / "users_20.py")
    assert run("plan", path) == (GOLDEN / "users_20.txt").read_text(encoding="utf-8")
    found = json.loads(run("plan", path, "--json"))
    assert found == json.loads((GOLDEN / "users_20.json").read_text(encoding="utf-8"))


def test_every_key_is_documented() -> None:
    text = REFERENCE.read_text(encoding="utf-8").split("## JSON")[1]
    keys = _keys(json.loads((GOLDEN / "users_20.json").read_text(encoding="utf-8")))
    assert sorted(key for key in keys if f"`{key}`" not in text and f"`{key}[]`" not in text) == []


def test_inventories_are_short() -> None:
    for name, most in {"users_20": 30, "users_100": 40}.items():
        path = ROOT / "inventories" / f"{name}.py"
        assert len(path.read_text(encoding="utf-8").splitlines()) <= most


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for inner in value.values() for key in _keys(inner))}
    if isinstance(value, list):
        return {key for inner in value for key in _keys(inner)}
    return set()
