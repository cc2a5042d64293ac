"""``atelier compare`` as an operator calls it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.cli.size import KINDS, EngineName
from deploy.errors import PlanError, Problem
from deploy.plan.replica_plan import WeightsPlan
from deploy.sizing.trade_offs import ABILITIES, owners
from deploy.spec import EngineSpec, ModelSpec
from deploy.spec.engine_kinds import ENGINES
from tests.cli.run import run
from tests.golden import assert_golden
from tests.sizing import configs as c

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs" / "sizing.md"
KEYS = ["model", "gpus", "users", "throughput", "engines"]
ENGINE_KEYS = [
    "engine",
    "engine_version",
    "supported",
    "fits",
    "reasons",
    "warnings",
    "format",
    "quantization",
    "dtype",
    "weights",
    "quantizations",
    "replicas",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "weights_gib_per_gpu",
    "kv_cache_gib_per_gpu",
    "kv_cache_tokens",
    "max_model_len_that_fits",
    "context_tokens",
    "concurrent_users",
    "tokens_per_second_for_one",
    "tokens_per_second_per_user",
    "tokens_per_second",
    "licence",
    "images",
    "at_the_limit",
    "gives_up",
]
SLOTS = ("llama-cpp", "ollama")
"""Engines with slots, as ``size`` calls them."""
SIZED = [(engine.value, KINDS[engine]) for engine in EngineName]


def compare(*arguments: str) -> dict[str, Any]:
    """Each engine's answer, by its name."""
    answer = json.loads(run("compare", *arguments, "--json"))
    return {each["engine"]: each for each in answer["engines"]}


def size(*arguments: str) -> dict[str, Any]:
    """What ``atelier size`` says."""
    found: dict[str, Any] = json.loads(run("size", *arguments, "--json"))
    return found


@pytest.mark.golden
def test_the_text_is_as_kept() -> None:
    printed = run("compare", "qwen2.5-coder-32b", "--gpus", "2x l40s", "--users", "20")
    assert_golden(GOLDEN / "compare_32b.txt", printed)


def test_the_documented_output_is_real() -> None:
    text = (DOCS.parent / "engines.md").read_text(encoding="utf-8")
    command = '    $ atelier compare qwen2.5-coder-32b --gpus "2x l40s" --users 20\n'
    shown = re.split(r"\n(?=\S)", text.split(command)[1])[0].splitlines()
    kept = (GOLDEN / "compare_32b.txt").read_text(encoding="utf-8").splitlines()
    real = {" ".join(line.split()) for line in kept}
    lines = [" ".join(line.split()) for line in shown if "\u2500" not in line]
    assert len(lines) > 30
    assert [line for line in lines if line not in {*real, "", "..."}] == []


@pytest.mark.parametrize("gpus", ["l40s", "4x h100", "2x mi300x", "mac-studio-512", "cpu"])
def test_it_is_read_in_80_columns(gpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = replace(ENGINES["vllm"], title="Engine-of-12")
    monkeypatch.setitem(ENGINES, "vllm", longest)
    lines = run("compare", "qwen2.5-coder-7b", "--gpus", gpus).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.startswith("Engine-of-12")]
    assert len(rows) == 1
    assert len(rows[0].split()) == 9


def test_the_keys_are_stable_and_documented() -> None:
    answer = json.loads(run("compare", "qwen2.5-coder-7b", "--gpus", "l40s", "--json"))
    assert list(answer) == KEYS
    assert [each["engine"] for each in answer["engines"]] == list(ENGINES)
    for each in answer["engines"]:
        assert list(each) == ENGINE_KEYS
    text = DOCS.read_text(encoding="utf-8")
    text = text[text.index("## Engines side by side") : text.index("## JSON")]
    assert [key for key in KEYS + ENGINE_KEYS if f"`{key}`" not in text] == []


@pytest.mark.parametrize(("engine", "kind"), SIZED)
def test_its_figures_are_those_of_size(engine: str, kind: str) -> None:
    asked = ("qwen2.5-coder-7b", "--gpus", "2x l40s", "--users", "20", "--context", "8192")
    found = compare(*asked)[kind]
    more = ("--flash-attention",) if engine in SLOTS else ()
    alone = size(*asked, "--engine", engine, *more)
    same: tuple[str, ...] = (
        *("fits", "quantization", "max_model_len_that_fits", "kv_cache_tokens", "replicas"),
        *("tokens_per_second", "tokens_per_second_per_user", "tensor_parallel_size"),
    )
    if engine in SLOTS:
        # size counts the longest request of 20 slots, compare that of one
        same = tuple(key for key in same if key != "max_model_len_that_fits")
    assert {key: found[key] for key in same} == {key: alone[key] for key in same}


def test_one_user_is_as_fast_as_size_says() -> None:
    asked = ("qwen2.5-coder-7b", "--gpus", "l40s")
    for engine, more in (("vllm", ()), ("ollama", ("--flash-attention",))):
        alone = size(*asked, "--users", "1", "--engine", engine, *more)
        found = compare(*asked, "--users", "20")[engine]
        assert found["tokens_per_second_for_one"] == alone["tokens_per_second_per_user"]
        assert found["max_model_len_that_fits"] == alone["max_model_len_that_fits"]


def test_weights_that_do_not_fit_give_way_to_smaller_ones() -> None:
    asked = ("qwen2.5-coder-32b", "--gpus", "l40s")
    assert size(*asked)["fits"] == "no"
    found = compare(*asked)["vllm"]
    assert (found["quantization"], found["fits"]) == ("fp8", "yes")
    assert found["weights"] == "Qwen/Qwen2.5-Coder-32B-Instruct"
    fits = {each["quantization"]: each["fits"] for each in found["quantizations"]}
    assert fits["none"] == "no"
    assert fits["awq"] == "yes"


def test_weights_that_the_plan_refuses_are_not_sized(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, model: ModelSpec, *others: Any) -> WeightsPlan:
        method, traits = others[1], others[2]
        if traits.title == "SGLang" or method != "awq":
            raise PlanError(Problem(f"{path}.quantization", f"{traits.title} has no {method}"))
        return WeightsPlan(repository="org/awq")

    monkeypatch.setattr("deploy.plan.weights_to_try.safetensors_weights", refuse)
    found = compare("qwen2.5-coder-7b", "--gpus", "l40s")
    assert found["vllm"]["quantizations"] == [
        {"quantization": "awq", "fits": "yes", "weights": "org/awq"}
    ]
    assert found["sglang"]["fits"] == "no"
    assert found["sglang"]["reasons"] == ["model.quantization: SGLang has no none"]


def test_each_engine_takes_the_weights_of_its_format() -> None:
    asked = ("qwen2.5-coder-7b", "--gpus", "l40s", "--quantization", "awq")
    found = compare(*asked, "--quantization", "q8_0")
    assert {found[engine]["quantization"] for engine in ("vllm", "sglang", "tgi")} == {"awq"}
    assert found["ollama"]["quantization"] == "q8_0"
    assert compare(*asked)["ollama"]["quantization"] == "q4_k_m"


def test_slots_are_as_many_as_fit() -> None:
    found = compare("qwen2.5-coder-32b", "--gpus", "l40s", "--users", "100")["ollama"]
    held = found["concurrent_users"]
    assert 1 < held < 100
    assert any(f"100 users at once: {held} are answered" in each for each in found["warnings"])
    asked = ("qwen2.5-coder-32b", "--gpus", "l40s", "--engine", "ollama", "--flash-attention")
    more = ("--context", "8192", "--users")
    assert size(*asked, *more, str(held))["fits"] == "yes"
    assert size(*asked, *more, str(held + 2))["fits"] != "yes"


def test_only_engines_that_serve_the_model_on_the_cards() -> None:
    def fitting(*arguments: str) -> set[str]:
        return {name for name, each in compare(*arguments).items() if each["fits"] != "no"}

    assert fitting("bge-m3", "--gpus", "l40s") == {"vllm"}
    assert fitting("qwen2.5-coder-7b", "--gpus", "mac-studio-64") == {"llama_cpp", "ollama"}
    assert fitting("tiny-coder", "--gpus", "l40s") == {"llama_cpp", "ollama"}
    assert "tgi" not in fitting("qwen2.5-coder-7b", "--gpus", "mi300x")
    assert fitting("qwen2.5-coder-7b", "--gpus", "cpu") == set()


def test_what_the_registry_says_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("qwen2.5-coder-7b", "--gpus", "l40s")
    before = compare(*asked)["sglang"]
    assert before["fits"] != "no"
    assert any("lora_adapters" in each for each in before["gives_up"])
    own = ENGINES["sglang"]
    settings = own.model_settings | {"lora_adapters"}
    told = replace(own, caveat="it is new here", model_settings=settings)
    monkeypatch.setitem(ENGINES, "sglang", told)
    after = compare(*asked)["sglang"]
    assert after["gives_up"][0] == "it is new here"
    assert not any("lora_adapters" in each for each in after["gives_up"])


def test_what_is_given_up_are_settings_that_inventories_have() -> None:
    fields = {*EngineSpec.model_fields, *ModelSpec.model_fields}
    assert set(ABILITIES) <= fields
    for name in ABILITIES:
        assert set(owners(name)) < set(ENGINES)
        assert owners(name)


def test_experts_matter_only_where_there_are_some() -> None:
    def gives_up(model: str) -> str:
        return " ".join(compare(model, "--gpus", "h100")["ollama"]["gives_up"])

    assert "enable_expert_parallel" in gives_up("qwen3-coder-30b-a3b")
    assert "enable_expert_parallel" not in gives_up("qwen2.5-coder-7b")


def test_licences_and_images_are_the_catalogues() -> None:
    nvidia = compare("qwen2.5-coder-7b", "--gpus", "l40s")
    images = Path(__file__).parents[2] / "deploy/catalog/images.yaml"
    known = images.read_text(encoding="utf-8")
    for each in nvidia.values():
        assert len(each["images"]) == 1
        assert f"reference: {each['images'][0]['reference']}\n" in known
    assert nvidia["vllm"]["licence"] == "Apache-2.0"
    assert nvidia["ollama"]["licence"] == "MIT"
    amd = compare("qwen2.5-coder-7b", "--gpus", "mi300x")["vllm"]
    assert "rocm" in amd["images"][0]["reference"]
    assert compare("qwen2.5-coder-7b", "--gpus", "mac-studio-64")["ollama"]["images"] == []


def test_what_contradicts_one_engine_is_its_row() -> None:
    found = compare("qwen2.5-coder-7b", "--gpus", "l40s", "--gpu-memory-utilization", "0.95")
    assert found["vllm"]["fits"] == "yes"
    assert "at most 0.9: TGI leaves the rest" in found["tgi"]["reasons"][0]


def test_a_model_that_cannot_be_counted_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**c.QWEN2_7B, "model_type": "kimi_linear"}))
    found = compare(str(path), "--gpus", "l40s")
    assert {each["fits"] for each in found.values()} == {"no"}
    assert "linear-attention" in found["vllm"]["reasons"][0]


def test_a_config_file_is_as_good_as_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(c.QWEN2_32B))
    ours, theirs = (
        compare(model, "--gpus", "2x l40s")["vllm"] for model in (str(path), "qwen2.5-coder-32b")
    )
    assert ours["kv_cache_tokens"] == theirs["kv_cache_tokens"] > 0
    assert ours["weights"] is None


WRONG = [
    (["--gpus", "2x nonsense"], "nonsense"),
    (["--gpus", "l40s", "--users", "0"], "users: 0"),
    (["--gpus", "l40s", "--context", "0"], "context_tokens: 0"),
    (["--gpus", "l40s", "--max-model-len", "0"], "max_model_len: 0"),
    (["--gpus", "l40s", "--gpu-memory-utilization", "1.5"], "gpu_memory_utilization: 1.5"),
    (["--gpus", "l40s", "--quantization", "magic"], "quantization: 'magic'"),
    (["--gpus", "l40s", "--kv-cache-dtype", "int2"], "kv_cache_dtype: 'int2'"),
    (["--gpus", "l40s", "--input-tokens", "9"], "both, or none"),
    ([], "Missing option '--gpus'"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_mistake_is_an_object_with_json(arguments: list[str], words: str) -> None:
    printed = run("compare", "qwen2.5-coder-7b", *arguments, "--json", status=1)
    assert words in json.loads(printed)["error"]


def test_a_mistake_is_one_where_a_single_engine_is_left_to_ask() -> None:
    printed = run("compare", "bge-m3", "--gpus", "l40s", "--users", "0", "--json", status=1)
    assert "users: 0" in json.loads(printed)["error"]


def test_an_unknown_model_is_refused_as_size_refuses_it() -> None:
    for name in ("qwen3-coder-30b", "none.json"):
        asked = (name, "--gpus", "l40s", "--json")
        ours = run("compare", *asked, status=1)
        assert ours == run("size", *asked, status=1)


def test_it_loads_nothing_that_takes_long_to_load() -> None:
    code = (
        "import sys; sys.argv = ['atelier', 'compare', 'qwen2.5-coder-32b', '--gpus', '4x h100']\n"
        "from deploy.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    assert not {'docker', 'pyinfra', 'paramiko', 'httpx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
