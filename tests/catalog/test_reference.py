"""The reference names everything that the commands print as JSON."""

from pathlib import Path

import pytest

from deploy.catalog import load_catalog
from deploy.cli.gpus import gpu_to_json
from deploy.cli.models import model_to_json

REFERENCE = Path(__file__).parents[2] / "docs" / "reference-catalogue.md"
CATALOG = load_catalog()
KEYS = {
    "gpus": gpu_to_json("l40s", CATALOG.gpus["l40s"]),
    "models": model_to_json("tiny-coder", CATALOG.models["tiny-coder"], CATALOG),
}


@pytest.mark.parametrize("command", KEYS)
def test_every_key_is_documented(command: str) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    section = text.split(f"## `atelier {command}`")[1].split("\n## ")[0]
    assert [key for key in KEYS[command] if f"`{key}`" not in section] == []
