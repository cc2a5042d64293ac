"""SGLang, TensorRT-LLM and TGI in whole runs of pyinfra, on a host of its ``@fake`` connector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.services import Tier
from tests.fake_host import Responses, converged, fresh
from tests.test_pyinfra import LOOKS, Site, plan
from tests.test_pyinfra_weights import GPU, NAME, PROVIDE, artefacts_of, declare, hub


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("LAB_TOKEN", "hf_no-real-token")
    site = Site(tmp_path)
    declare(site, "h1")
    change(site, 'kind="vllm"', 'kind="sglang"')
    return site


def change(site: Site, old: str, new: str) -> None:
    text = site.inventory.read_text()
    assert old in text
    site.inventory.write_text(text.replace(old, new))


def engine_name(artefacts: Artefacts) -> str:
    return artefacts.stack.tier(Tier.ENGINE)[0].name


def there(artefacts: Artefacts) -> Responses:
    return converged(artefacts) | GPU


@pytest.mark.parametrize("kind", ["sglang", "tensorrt_llm", "tgi"])
def test_a_second_run_changes_nothing(site: Site, kind: str) -> None:
    change(site, 'kind="sglang"', f'kind="{kind}"')
    site.answer(there(artefacts_of(site)))
    result = site.execute("--json", "-vvv")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0
    assert result.stderr.count("Loaded fact") == LOOKS


EXPERTS = {
    "sglang": 'name="gpt-oss-20b"',
    "tensorrt_llm": 'name="qwen3-30b-a3b", quantization="fp8", weights="nvidia/Qwen3-30B-A3B-FP8"',
}


@pytest.mark.parametrize("kind", list(EXPERTS))
def test_mixtures_of_experts(site: Site, kind: str) -> None:
    change(site, 'kind="sglang"', f'kind="{kind}"')
    dense = there(artefacts_of(site))
    change(site, 'name="qwen2.5-coder-0.5b"', EXPERTS[kind])
    artefacts = artefacts_of(site)
    [weights] = artefacts.stack.tier(Tier.ENGINE)[0].weights
    repository = weights.name.partition("@")[0]
    answers = {said.replace(NAME, repository): answer for said, answer in hub().items()}
    site.answer(dense | answers)
    dry = site.run("--dry", "--json", "--diff")
    assert f"Will create container {engine_name(artefacts)}" in dry.stderr
    site.answer(there(artefacts))
    result = site.execute("--json", "-vvv")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0


def test_a_fresh_host_gets_weights_and_then_the_engine(site: Site) -> None:
    site.answer(fresh() | GPU | hub())
    dry = site.run("--dry", "--json", "--diff")
    names = [name for name, changed in plan(dry).items() if changed]
    assert names.index(PROVIDE) < names.index("Run the engines")
    name = engine_name(artefacts_of(site))
    assert name.endswith("-sglang-qwen2.5-coder-0.5b-0")
    assert f"Will create container {name}" in dry.stderr
    key = yaml.safe_load((site.directory / ".secrets" / "demo.yaml").read_text())["engine_api_key"]
    result = site.execute("--json", "-vvv", "--diff")
    assert result.returncode == 0, result.stderr
    assert key not in dry.stdout + dry.stderr + result.stdout + result.stderr


def test_another_share_of_the_card_replaces_it(site: Site) -> None:
    site.answer(there(artefacts_of(site)))
    change(site, 'kind="sglang"', 'kind="sglang", gpu_memory_utilization=0.8')
    dry = site.run("--dry", "--json", "--diff")
    assert plan(dry)["Run the engines"]
    name = engine_name(artefacts_of(site))
    assert f"Will recreate container {name}" in dry.stderr
    # the share that it is told, and the KV cache that follows
    assert "command" in dry.stderr


@pytest.mark.parametrize("kind", ["tensorrt_llm", "tgi", "vllm"])
def test_another_engine_takes_its_place(site: Site, kind: str) -> None:
    site.answer(there(artefacts_of(site)))
    gone = engine_name(artefacts_of(site))
    change(site, 'kind="sglang"', f'kind="{kind}"')
    dry = site.run("--dry", "--json", "--diff")
    assert plan(dry)["Run the engines"]
    assert f"Will remove container {gone}" in dry.stderr
    assert f"Will create container {engine_name(artefacts_of(site))}" in dry.stderr
