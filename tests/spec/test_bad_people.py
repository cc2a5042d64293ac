"""What an operator reads when teams, people or the router's names are declared wrongly."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from deploy import Deployment
from deploy.artefacts import make_artefacts
from deploy.errors import AtelierError
from tests.spec.test_bad_inventories import DEMO, case_id

STORE: dict[str, Any] = {"postgres": {}}
TEAM = {"teams": [{"name": "research"}]}

BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    (
        {"people": [{"name": "ada", "rpm": 3}]},
        """
        people[0].rpm: unknown setting
            allowed: budget_duration, disabled, email, expires, max_budget, \
max_parallel_requests, models, name, public_key, rpm_limit, team, tpm_limit
        """,
    ),
    (
        {"people": [{"name": "ada"}, {"name": "ada"}]},
        """
        people: person 'ada' is declared more than once
            allowed: each person once
            fix: remove or rename the second 'ada'
        """,
    ),
    (
        {"teams": [{"name": "research"}, {"name": "research"}]},
        """
        teams: team 'research' is declared more than once
            allowed: each team once
            fix: remove or rename the second 'research'
        """,
    ),
    (
        {"people": [{"name": "Ada Lovelace"}]},
        """
        people[0].name: 'Ada Lovelace'
            allowed: a login or an e-mail address, in lower case, of at most 100 characters
        """,
    ),
    (
        {"people": [{"name": "default_user_id"}]},
        """
        people[0].name: 'default_user_id'
            allowed: a login or an e-mail address, in lower case, of at most 100 characters
        """,
    ),
    (
        {"teams": [{"name": "litellm-dashboard"}]},
        """
        teams[0].name: 'litellm-dashboard'
            allowed: at most 64 lower-case letters, digits, dots and hyphens, e.g. research
        """,
    ),
    (
        {"people": [{"name": "ada", "email": "ada"}]},
        """
        people[0].email: 'ada'
            allowed: an e-mail address
        """,
    ),
    (
        {"people": [{"name": "ada", "public_key": "AGE-SECRET-KEY-1SKMINE"}]},
        """
        people[0].public_key: not a public key
            allowed: age1..., ssh-ed25519 ... or ssh-rsa ..., on one line
        """,
    ),
    (
        {"people": [{"name": "ada", "expires": "next year"}]},
        """
        people[0].expires: 'next year'
            allowed: a date such as 2026-12-31
        """,
    ),
    (
        {"limits": {"budget_duration": "monthly"}},
        """
        limits.budget_duration: 'monthly'
            allowed: a number and h, d, w or mo, e.g. '24h', '7d' or '1mo'
        """,
    ),
    (
        {"limits": {"rpm_limit": 0}},
        """
        limits.rpm_limit: 0
            allowed: at least 1
        """,
    ),
    (
        {"teams": [{"name": "research", "max_budget": 0}]},
        """
        teams[0].max_budget: 0
            allowed: more than 0
        """,
    ),
]

BAD_PLANS: list[tuple[dict[str, Any], str]] = [
    (
        {"people": [{"name": "ada"}]},
        """
        people: people are declared, but the router has no database to keep them in
            allowed: a deployment with PostgreSQL
            fix: declare postgres=Postgres(), or a profile for 20 users or more
        """,
    ),
    (
        TEAM,
        """
        teams: teams are declared, but the router has no database to keep them in
            allowed: a deployment with PostgreSQL
            fix: declare postgres=Postgres(), or a profile for 20 users or more
        """,
    ),
    (
        STORE | TEAM | {"people": [{"name": "ada", "team": "teaching"}]},
        """
        people[0].team: 'teaching', which is not declared
            allowed: research
            fix: declare teams=[Team(name='teaching')], or leave team out
        """,
    ),
    (
        STORE | {"people": [{"name": "ada", "team": "teaching"}]},
        """
        people[0].team: 'teaching', which is not declared
            allowed: a declared team; there is none
            fix: declare teams=[Team(name='teaching')], or leave team out
        """,
    ),
    (
        STORE | {"teams": [{"name": "research", "models": ["qwen2.5-coder-7b"]}]},
        """
        teams[0].models: 'qwen2.5-coder-7b', which is not served
            allowed: tiny-coder
            fix: declare the model, or an alias for it: Router(aliases={...})
        """,
    ),
    (
        STORE
        | {
            "router": {"aliases": {"gpt-4o": "tiny-coder"}},
            "teams": [{"name": "research", "models": ["gpt-4o"]}],
            "people": [{"name": "ada", "team": "research", "models": ["tiny-coder"]}],
        },
        """
        people[0].models: 'tiny-coder', which team research may not ask for
            allowed: gpt-4o
        """,
    ),
    (
        STORE | {"people": [{"name": "ada", "email": "A@b.c"}, {"name": "eve", "email": "a@b.c"}]},
        """
        people[0]: A@b.c is the address of more than one person
            allowed: one person each
        """,
    ),
    (
        STORE | {"people": [{"name": "ada", "max_budget": 5}]},
        """
        people[0].max_budget: a budget of 5, but no model has a price: nothing is spent
            allowed: a budget where models have prices
            fix: declare Router(prices={'NAME': Price(input=1, output=1)}): then a budget of 1 is \
a million tokens
        """,
    ),
    (
        STORE | {"people": [{"name": "ada", "public_key": "age1" + "q" * 58}]},
        """
        people[0].public_key: not a public key: invalid Bech32 encoding
        """,
    ),
    (
        STORE | {"people_file": "none.csv"},
        """
        people_file: cannot read DIRECTORY/none.csv: No such file or directory
            allowed: a CSV or YAML file
        """,
    ),
    (
        STORE | {"people_file": "twice.csv", "people": [{"name": "ada"}]},
        """
        people[0]: person 'ada' is declared more than once
            allowed: each person once
            fix: remove the second 'ada'
        """,
    ),
    (
        STORE | {"people_file": "wrong.csv"},
        """
        wrong.csv, line 3.rpm_limit: 'many'
            allowed: a whole number
        wrong.csv, line 4.name: not set
            fix: this setting is required: declare it
        """,
    ),
    (
        STORE | {"people_file": "empty.csv"},
        """
        people_file: DIRECTORY/empty.csv is empty
            allowed: a line with the names of columns
        """,
    ),
    (
        STORE | {"people_file": "long.csv"},
        """
        people_file: DIRECTORY/long.csv, line 2: field larger than field limit (131072)
            allowed: a CSV or YAML file
        """,
    ),
    (
        STORE | {"people_file": "day.yaml"},
        """
        DIRECTORY/day.yaml: not YAML: day is out of range for month
            allowed: a list of people
        """,
    ),
    (
        STORE | {"people_file": "wide.csv"},
        """
        wide.csv, line 2.more cells than columns: unknown setting
            allowed: budget_duration, disabled, email, expires, max_budget, \
max_parallel_requests, models, name, public_key, rpm_limit, team, tpm_limit
        """,
    ),
    (
        STORE | {"people_file": "mapping.yaml"},
        """
        DIRECTORY/mapping.yaml: a dict
            allowed: a list of people
        """,
    ),
    (
        {"router": {"aliases": {"gpt-4o": "qwen"}}},
        """
        router.aliases.gpt-4o: 'qwen', which is not served
            allowed: tiny-coder
        """,
    ),
    (
        {"router": {"aliases": {"tiny-coder": "tiny-coder"}}},
        """
        router.aliases.tiny-coder: 'tiny-coder' is a served model itself
            allowed: another name
        """,
    ),
    (
        {"router": {"fallbacks": {"tiny-coder": ["qwen"]}}},
        """
        router.fallbacks.tiny-coder: 'qwen', which is not served
            allowed: tiny-coder
        """,
    ),
    (
        {"router": {"fallbacks": {"tiny-coder": ["tiny-coder"]}}},
        """
        router.fallbacks.tiny-coder: 'tiny-coder' falls back on itself
            allowed: other models
        """,
    ),
    (
        {"router": {"prices": {"qwen": {"input": 1, "output": 2}}}},
        """
        router.prices: 'qwen', which is not served
            allowed: tiny-coder
        """,
    ),
    (
        {"router": {"aliases": {"quick": "tiny-coder"}, "priorities": {"qwen": -1}}},
        """
        router.priorities.qwen: 'qwen', which is neither a served model nor an alias
            allowed: tiny-coder, quick
        """,
    ),
    (
        {"router": {"aliases": {"quick": "tiny-coder"}, "priorities": {"quick": -1}}},
        """
        router.priorities.quick: the engine of 'tiny-coder' answers who came first
            allowed: models that vLLM or SGLang serves by priority
            fix: declare engine=Engine(kind='vllm', scheduling_policy='priority') for 'tiny-coder'
        """,
    ),
]
FILES = {
    "twice.csv": "name\nada\n",
    "wrong.csv": "name,rpm_limit\nada,5\nbob,many\n,6\n",
    "empty.csv": "",
    "long.csv": f"name\nada\n{'a' * 200_000}\n",
    "day.yaml": "- {name: ada, expires: 2026-02-30}\n",
    "wide.csv": "name\nada,5\n",
    "mapping.yaml": "name: ada\n",
}


def lines(text: str, directory: Path) -> str:
    return dedent(text).strip().replace("DIRECTORY", str(directory))


@pytest.mark.parametrize(("settings", "message"), BAD_SPECS, ids=case_id)
def test_settings_that_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AtelierError) as refused:
        Deployment(**DEMO | settings)
    assert str(refused.value) == lines(message, tmp_path)


@pytest.mark.parametrize(("settings", "message"), BAD_PLANS, ids=case_id)
def test_deployments_that_cannot_be(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(AtelierError) as refused:
        make_artefacts(Deployment(**DEMO | settings), tmp_path)
    assert str(refused.value) == lines(message, tmp_path)
