"""``atelier size`` as an operator calls it."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from deploy.cli.main import main
from tests.cli.run import run
from tests.sizing import configs as c

KEYS = [
    "supported",
    "fits",
    "reasons",
    "warnings",
    "model",
    "engine",
    "engine_version",
    "parameters_billion",
    "active_parameters_billion",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "gpus",
    "replicas",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "legal_tensor_parallel_sizes",
    "rejected",
    "gpu_memory_utilization",
    "usable_gib_per_gpu",
    "weights_gib_per_gpu",
    "overhead_gib_per_gpu",
    "overhead",
    "kv_cache_gib_per_gpu",
    "least_kv_cache_gib_per_gpu",
    "pinned_kv_cache_bytes_per_gpu",
    "kv_cache_tokens",
    "kv_cache_bytes_per_token_per_gpu",
    "max_model_len",
    "max_model_len_that_fits",
    "max_num_seqs",
    "max_num_batched_tokens",
    "context_tokens",
    "users",
    "concurrent_users",
    "at_the_limit",
    "tokens_per_second_per_user",
    "tokens_per_second",
    "prefill_tokens_per_second",
    "throughput",
    "details",
    "reason_data",
    "warning_data",
]
DOCS = Path(__file__).parents[2] / "docs" / "sizing.md"


def size(*arguments: str, status: int = 0) -> Any:
    """What the command prints with --json; in this process, for speed."""
    printed = io.StringIO()
    command = ["atelier", "size", *arguments, "--json"]
    with (
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(printed),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert ended.value.code == status
    return json.loads(printed.getvalue())


def test_the_keys_are_stable_and_documented() -> None:
    assert list(size("qwen2.5-coder-7b", "--gpus", "l40s")) == KEYS
    text = DOCS.read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in text] == []


def test_a_model_of_the_catalogue_on_two_cards() -> None:
    sizing = size("qwen2.5-coder-32b", "--gpus", "2x l40s", "--tensor-parallel-size", "2")
    assert sizing["fits"] == "yes"
    assert sizing["weights_gib_per_gpu"] == pytest.approx(30.71, abs=0.02)
    assert sizing["kv_cache_bytes_per_token_per_gpu"] == 131072
    assert sizing["kv_cache_tokens"] == pytest.approx(63152, rel=0.1)


def test_a_config_file_is_as_good_as_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(c.QWEN2_32B))
    ours = size(str(path), "--gpus", "2x l40s", "--quantization", "none")
    theirs = size("qwen2.5-coder-32b", "--gpus", "2x l40s")
    assert ours["kv_cache_tokens"] == theirs["kv_cache_tokens"]
    assert size(str(tmp_path), "--gpus", "2x l40s")["fits"] == "yes"


def test_a_declined_model_is_not_supported_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**c.QWEN2_7B, "model_type": "kimi_linear"}))
    sizing = size(str(path), "--gpus", "l40s")
    assert list(sizing) == KEYS
    assert not sizing["supported"]
    assert sizing["fits"] == "no"
    assert "linear-attention" in sizing["reasons"][0]
    assert sizing["kv_cache_tokens"] == 0


def test_ollama_counts_layers() -> None:
    sizing = size("qwen2.5-coder-32b", "--gpus", "rtx-3060", "--engine", "ollama")
    assert sizing["fits"] == "no"
    assert sizing["details"]["layers_on_gpu"] < sizing["details"]["layers"]


WRONG = [
    (["--gpus", "2x nonsense"], "nonsense"),
    (["--gpus", ""], "gpus"),
    (["--gpus", "0x l40s"], "1 to 1024"),
    (["--gpus", "l40s", "--users", "0"], "users: 0"),
    (["--gpus", "l40s", "--users", "many"], "Invalid value for '--users'"),
    (["--gpus", "l40s", "--context", "-1"], "context_tokens: -1"),
    (["--gpus", "l40s", "--max-model-len", "0"], "max_model_len: 0"),
    (["--gpus", "l40s", "--tensor-parallel-size", "0"], "tensor_parallel_size: 0"),
    (["--gpus", "l40s", "--gpu-memory-utilization", "1.5"], "gpu_memory_utilization: 1.5"),
    (["--gpus", "l40s", "--gpu-memory-utilization", "nan"], "gpu_memory_utilization: nan"),
    (["--gpus", "l40s", "--weights-gib", "-3"], "weights_gib: -3"),
    (["--gpus", "l40s", "--dtype", "int3"], "dtype: 'int3'"),
    (["--gpus", "l40s", "--quantization", "magic"], "quantization: 'magic'"),
    (["--gpus", "l40s", "--kv-cache-dtype", "int2"], "kv_cache_dtype: 'int2'"),
    (["--gpus", "l40s", "--engine", "magic"], "Invalid value for '--engine'"),
    (["--gpus", "l40s", "--engine-version", "new"], "engine_version: 'new'"),
    (["--gpus", "l40s", "--max-loras", "-1"], "max_loras: -1"),
    (["--gpus", "l40s", "--input-tokens", "-5", "--output-tokens", "3"], "input_tokens: -5"),
    (["--gpus", "l40s", "--observed", "/etc/hosts"], "observed: /etc/hosts"),
    (["--gpus", "l40s", "--plot", "/nowhere/page.html"], "/nowhere/page.html cannot be written"),
    *(
        (
            ["--gpus", "l40s", "--speculative-config", f'{{"method": "draft_model", {said}}}'],
            words,
        )
        for said, words in (
            ('"num_speculative_tokens": 3, "model": 7', "model: '7'"),
            ('"num_speculative_tokens": 3, "acceptance": "most"', "speculative_config: {"),
        )
    ),
    ([], "Missing option '--gpus'"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_mistake_is_an_object_with_json(arguments: list[str], words: str) -> None:
    assert words in size("qwen2.5-coder-7b", *arguments, status=1)["error"]


FILES = [
    ("", "not JSON"),
    ("[]", "list"),
    ("{", "not JSON"),
    ("{}", "model_type: not set"),
    ('{"model_type": "llama", "hidden_size": -1}', "num_hidden_layers: not set"),
]


@pytest.mark.parametrize(("text", "words"), FILES)
def test_a_broken_file_is_an_object_with_json(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert words in size(str(path), "--gpus", "l40s", status=1)["error"]


def test_an_unknown_model_or_file_is_an_object_with_json(tmp_path: Path) -> None:
    error = size("qwen3-coder-30b", "--gpus", "l40s", status=1)["error"]
    assert "did you mean 'qwen3-coder-30b-a3b'?" in error
    missing = size(str(tmp_path / "none.json"), "--gpus", "l40s", status=1)["error"]
    assert "No such file" in missing
    binary = tmp_path / "x.json"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not JSON" in size(str(binary), "--gpus", "l40s", status=1)["error"]


def test_the_text_fits_in_80_columns() -> None:
    text = run("size", "qwen2.5-coder-32b", "--gpus", "4x l40s")
    refused = run("size", "qwen2.5-coder-32b", "--gpus", "l40s")
    assert max(len(line) for line in (text + refused).splitlines()) <= 80
    assert "needs 61.0 GiB of weights" in " ".join(refused.split())


def test_it_loads_nothing_that_takes_long_to_load() -> None:
    code = (
        "import sys; sys.argv = ['atelier', 'size', 'qwen2.5-coder-32b', '--gpus', '4x h100']\n"
        "from deploy.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    assert not {'docker', 'pyinfra', 'paramiko', 'httpx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_prompts_are_charged_where_they_are_named() -> None:
    asked = ("size", "llama-3.1-8b", "--gpus", "1x l40s", "--users", "20", "--json")
    alone = json.loads(run(*asked))["tokens_per_second_per_user"]
    both = json.loads(run(*asked, "--input-tokens", "3000", "--output-tokens", "500"))
    assert both["tokens_per_second_per_user"] < alone
    assert "both, or none" in json.loads(run(*asked, "--input-tokens", "9", status=1))["error"]


def test_sglang_is_sized_as_itself() -> None:
    asked = ("size", "qwen2.5-coder-7b", "--gpus", "l40s", "--engine", "sglang", "--json")
    found = json.loads(run(*asked))
    assert (found["engine"], found["fits"], found["engine_version"]) == (
        *("sglang", "probably"),
        "0.5.21",
    )
    assert found["details"]["mem_fraction_static"] == pytest.approx(0.82, abs=0.02)
    assert "SGLang takes some of them back" in found["at_the_limit"]
    refused = json.loads(run(*asked, "--engine-version", "0.26", status=1))
    assert "with --engine vllm" in str(refused)
