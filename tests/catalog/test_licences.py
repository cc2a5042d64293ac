"""What licences allow."""

import re

import pytest

from deploy.catalog import Permission, Use, load_catalog

LICENCES = load_catalog().licences


@pytest.mark.parametrize("name", LICENCES)
def test_every_licence_can_be_looked_up(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name)
    assert LICENCES[name].url.startswith("https://")


@pytest.mark.parametrize("name", LICENCES)
@pytest.mark.parametrize("use", Use)
def test_refusals_name_their_clause(name: str, use: Use) -> None:
    permission = LICENCES[name].permission(use)
    assert permission.allowed or permission.clause


def test_a_refusal_without_a_clause_is_not_valid() -> None:
    with pytest.raises(ValueError, match="a refusal or a condition names its clause"):
        Permission(allowed=False)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("apache-2.0", [True, True, True]),
        ("mit", [True, True, True]),
        ("qwen-research", [True, False, False]),
        ("mistral-mnpl", [True, False, False]),
        ("bigcode-openrail-m-1", [True, True, True]),
        ("deepseek-model", [True, True, True]),
        ("llama-2-community", [True, True, True]),
    ],
)
def test_what_they_allow(name: str, allowed: list[bool]) -> None:
    assert [LICENCES[name].permission(use).allowed for use in Use] == allowed


@pytest.mark.parametrize(
    ("name", "users", "exceeded"),
    [
        ("open-webui", 50, False),
        ("open-webui", 51, True),
        ("llama-3.3-community", 700_000_000, False),
        ("llama-3.3-community", 700_000_001, True),
        ("apache-2.0", 10**9, False),
    ],
)
def test_user_thresholds(name: str, users: int, exceeded: bool) -> None:
    assert bool(LICENCES[name].exceeded_thresholds(users)) == exceeded
