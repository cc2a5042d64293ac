"""``atelier models``."""

import json
from typing import Any

import pytest

from deploy.catalog import load_catalog
from tests.cli.run import run


def listed(*arguments: str) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = json.loads(run("models", *arguments, "--json"))["models"]
    return models


def names(*arguments: str) -> list[str]:
    return [model["id"] for model in listed(*arguments)]


def test_without_filters_it_lists_every_model() -> None:
    assert names() == list(load_catalog().models)


def test_by_role() -> None:
    assert names("--role", "embedding") == ["nomic-embed-text", "bge-m3", "qwen3-embedding-0.6b"]
    assert "starcoder2-3b" in names("--role", "completion")
    assert "starcoder2-3b" not in names("--role", "chat")


def test_by_licence() -> None:
    assert names("--licence", "qwen-research") == ["qwen2.5-coder-3b", "qwen2.5-coder-3b-base"]


def test_by_use() -> None:
    forbidden = set(names()) - set(names("--use", "internal-commercial"))
    assert forbidden == {
        "qwen2.5-coder-3b",
        "qwen2.5-coder-3b-base",
        "codestral-22b",
        "minimax-m2.7",
    }
    assert names("--use", "research") == names()


@pytest.mark.parametrize("family", ["starcoder2", "StarCoder2"])
def test_by_family(family: str) -> None:
    assert names("--family", family) == ["starcoder2-3b", "starcoder2-7b", "starcoder2-15b"]


def test_a_family_of_several_words() -> None:
    assert names("--family", "Code Llama") == names("--family", "code-llama")


def test_json_has_what_the_reference_documents() -> None:
    model = listed("--licence", "qwen-research")[0]
    assert model["id"] == "qwen2.5-coder-3b"
    assert model["uses"] == {
        "research": True,
        "internal_commercial": False,
        "third_party_service": False,
    }
    assert model["config"]["num_key_value_heads"] == 2
    assert model["variants"][0]["huggingface"] == "Qwen/Qwen2.5-Coder-3B-Instruct"


def test_the_table_fits_80_columns() -> None:
    lines = run("models").splitlines()
    assert max(map(len, lines)) <= 80
    words = set(" ".join(lines).split())
    assert [name for name in load_catalog().models if name not in words] == []


def test_no_match_is_said() -> None:
    assert run("models", "--role", "embedding", "--licence", "qwen-research") == (
        "No model of the catalogue matches.\n"
    )


LICENCES = ", ".join(sorted(load_catalog().licences))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--licence", "apache"],
            f"error: --licence: 'apache' allowed: {LICENCES} fix: did you mean 'apache-2.0'?",
        ),
        (["--family", "starcoder"], "fix: did you mean 'starcoder2'?"),
    ],
)
def test_unknown_names(arguments: list[str], message: str) -> None:
    error = run("models", *arguments, stream="stderr", status=1)
    assert " ".join(error.split()).endswith(message)


def test_with_json_an_error_is_an_object() -> None:
    error = json.loads(run("models", "--licence", "apache", "--json", status=1))
    assert error["error"].startswith("--licence: 'apache'")
    assert error["problems"][0]["fix"] == "did you mean 'apache-2.0'?"
