"""Rows made from a config.json, and what rows lack."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from deploy.catalog import load_catalog
from deploy.catalog.new_model import lacks, new_row, size_config
from tests.cli.run import run

CATALOG = load_catalog()


def test_a_row_has_the_sizes_verbatim_and_what_follows_from_them() -> None:
    known = CATALOG.models["qwen3.6-35b-a3b"]
    config = {**known.config, "bos_token_id": 1, "transformers_version": "5.0"}
    row = new_row("new", config)["new"]
    assert row["config"] == size_config(known.config)
    assert "bos_token_id" not in row["config"]
    assert abs(row["parameters_billion"] - known.parameters_billion) < 0.1
    assert row["max_model_len"] == known.config["text_config"]["max_position_embeddings"]
    assert (row["licence"], row["source"]) == (None, None)


def test_what_a_row_lacks_is_named() -> None:
    assert "scores" in lacks(CATALOG.models["qwen3.8-27b"])
    assert "scores" not in lacks(CATALOG.models["qwen3.6-27b"])
    assert "tool_call_parser" not in lacks(CATALOG.models["qwen3.6-27b"])
    kimi = CATALOG.models["kimi-k2.6"]
    assert "the size of its vision encoder" not in lacks(kimi)
    config = {**kimi.config, "vision_config": {"patch_size": 14}}
    unknown = kimi.model_copy(update={"config": config})
    assert "the size of its vision encoder" in lacks(unknown)
    assert "the size of its vision encoder" not in lacks(CATALOG.models["llama-3.1-8b"])


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "Own-Model.json"
    path.write_text(json.dumps(CATALOG.models["qwen3-8b"].config), encoding="utf-8")
    row = yaml.safe_load(run("models", "--add", str(path)))
    assert abs(row["own-model"]["parameters_billion"] - 8.191) < 0.01
    assert json.loads(run("models", "--add", str(path), "--json")) == row
    assert "qwen3.8-27b: scores" in run("models", "--lacking")
    assert "scores" in json.loads(run("models", "--lacking", "--json"))["lacking"]["qwen3.8-27b"]


def test_a_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[]", encoding="utf-8")
    assert "error" in json.loads(run("models", "--add", str(path), "--json", status=1))
