"""Whom a plan has, with every limit worked out."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploy.plan.people import people_plan
from deploy.plan.people_plan import PersonPlan
from tests.conftest import declare

CSV = """\ufeffname,email,team,models,rpm_limit,expires,disabled
ada,ada@lab.example,research,tiny-coder; gpt-4o,,2026-12-31,
bob@lab.example,,,,none,,yes

"""
YAML = """
- {name: ada, team: research, models: [tiny-coder, gpt-4o], email: ada@lab.example,
   expires: 2026-12-31}
- {name: bob@lab.example, rpm_limit: null, disabled: true}
"""


def people(directory: Path, **settings: Any) -> dict[str, PersonPlan]:
    router = {"aliases": {"gpt-4o": "tiny-coder"}}
    spec = declare(postgres={}, router=router, teams=[{"name": "research"}], **settings)
    plan, problems = people_plan(spec, directory)
    assert problems == ()
    assert plan is not None
    return {person.name: person for person in plan.people}


def test_own_limits_win_and_none_is_no_limit(tmp_path: Path) -> None:
    found = people(
        tmp_path,
        limits={"rpm_limit": 60, "max_parallel_requests": 4},
        people=[
            {"name": "ada"},
            {"name": "bob", "rpm_limit": None},
            {"name": "cy", "rpm_limit": 7},
        ],
    )
    assert [person.rpm_limit for person in found.values()] == [60, None, 7]
    assert {person.max_parallel_requests for person in found.values()} == {4}


@pytest.mark.parametrize(("name", "text"), [("p.csv", CSV), ("p.yaml", YAML)])
def test_a_file_of_people(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = people(tmp_path, people_file=name, limits={"rpm_limit": 60})
    assert found == {
        "ada": PersonPlan(
            name="ada",
            email="ada@lab.example",
            team="research",
            models=("gpt-4o", "tiny-coder"),
            rpm_limit=60,
            expires=date(2026, 12, 31),
        ),
        "bob@lab.example": PersonPlan(
            name="bob@lab.example", email="bob@lab.example", disabled=True
        ),
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_spreadsheets_separate_columns_in_their_own_way(tmp_path: Path, separator: str) -> None:
    rows = (("name", "email", "tpm_limit"), ("eve", "eve@lab.example", "9"))
    (tmp_path / "p.csv").write_text("\n".join(separator.join(row) for row in rows))
    found = people(tmp_path, people_file="p.csv")["eve"]
    assert (found.email, found.tpm_limit) == ("eve@lab.example", 9)


def test_a_file_adds_to_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("name\neve\n")
    assert list(people(tmp_path, people=[{"name": "ada"}], people_file="p.csv")) == ["ada", "eve"]


def test_a_duration_without_a_budget_means_nothing(tmp_path: Path) -> None:
    found = people(
        tmp_path,
        people=[{"name": "ada", "max_budget": None, "budget_duration": "1d"}],
    )
    assert found["ada"].budget_duration is None


def test_a_router_without_a_database_has_no_people() -> None:
    assert people_plan(declare(), Path()) == (None, ())


@pytest.mark.parametrize("profile", ["20-users", "100-users"])
def test_profiles_limit_what_one_person_takes(profile: str) -> None:
    spec = declare(profile=profile)
    assert spec.limits.max_parallel_requests == 8
    assert spec.limits.rpm_limit == 120
