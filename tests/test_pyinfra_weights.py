"""Weights of Hugging Face in whole runs of pyinfra, on hosts of its ``@fake`` connector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.fake_host import COMMIT, Responses, converged, fresh
from tests.test_pyinfra import INVENTORY, LOOKS, Site, plan

TOKEN = "hf_leaked-token"
NAME = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
PROVIDE = f"Provide weights {NAME}@main"
VLLM = """
    engine=Engine(kind="vllm"),
    secrets={"huggingface_token": Secret(env="LAB_TOKEN")},
    # more
"""
GPU: Responses = {
    "@nvidia": [
        "@pci",
        "0000:01:00.0 3D controller [0302]: NVIDIA Corporation Device [10de:26b9] (rev a1)",
        "@nvidia",
        "0, GPU-5a7f0c1e-3d55-0d9a-6f1c-2f1b6a9e0c11, NVIDIA L40S, 46068, 580.173.02, "
        "00000000:01:00.0, [N/A], Enabled, "
        "Enabled, Enabled, Default, 350.00, 350.00",
        "@nvidia_status",
        "0",
        "@nvidia_banner",
        "| NVIDIA-SMI 580.173.02   Driver Version: 580.173.02   CUDA Version: 13.0 |",
        "@nvidia_list",
    ]
}


def hub(revision: str = "main", status: str = "302") -> Responses:
    """What the hub answers a host that asks for a revision."""
    lfs = {"sha256": "cd" * 32, "size": 988_000_000}
    rows = [{"rfilename": "model.safetensors", "size": 135, "blobId": "ab" * 20, "lfs": lfs}]
    body = json.dumps({"sha": COMMIT, "siblings": rows})
    address = f"https://huggingface.co/api/models/{NAME}/revision/{revision}?"
    return {
        f"atelier GET '{address}": ["HTTP/2 200", "", body],
        "atelier HEAD https://": [f"HTTP/2 {status}", "x-error-code: GatedRepo", ""],
    }


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("LAB_TOKEN", TOKEN)
    return Site(tmp_path)


def declare(site: Site, *names: str) -> None:
    """A deployment of vLLM on hosts with a GPU each."""
    hosts = ", ".join(
        f'Host(name="@fake/{name}", address="10.0.0.{i}", gpus="1x l40s")'
        for i, name in enumerate(names, 1)
    )
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', f"hosts=[{hosts}],")
    text = text.replace("# more", VLLM).replace("Deployment, Host", "Deployment, Engine, Host")
    model = f'Model(name="qwen2.5-coder-0.5b", replicas={len(names)})'
    text = text.replace('Model(name="tiny-coder")', model)
    (site.directory / "responses.json").write_text("{}")
    site.inventory.write_text(text)
    site.keep_secrets()


def artefacts_of(site: Site) -> Artefacts:
    declared = load_inventory(site.inventory)
    return make_artefacts(declared.spec, declared.directory)


def test_weights_that_are_there_cost_no_command(site: Site) -> None:
    declare(site, "h1")
    site.answer(converged(artefacts_of(site)) | GPU)
    result = site.execute("--json", "-vvv")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0
    assert result.stderr.count("Loaded fact") == LOOKS


def test_weights_come_before_engines_and_the_token_is_nowhere(site: Site) -> None:
    declare(site, "h1")
    site.answer(fresh() | GPU | hub())
    dry = site.run("--dry", "--json", "--diff")
    found = plan(dry)
    names = [name for name, changed in found.items() if changed]
    assert names.index(PROVIDE) < names.index("Run the engines")
    assert f"revision: (none) -> main ({COMMIT[:12]})" in dry.stderr
    assert "size: 0 MB -> 988 MB" in dry.stderr
    result = site.execute("--json", "-vvv", "--diff")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["results"]["operations"]
    assert PROVIDE in [row["name"] for row in rows if row["success"]]
    assert TOKEN not in dry.stderr + dry.stdout + result.stdout + result.stderr


def test_what_may_not_be_had_stops_all_before_anything_is_done(site: Site) -> None:
    declare(site, "h1")
    site.answer(fresh() | GPU | hub(status="401"))
    for flags in (("--dry", "--diff"), ("-y",)):
        result = site.run(*flags)
        assert result.returncode == 1
        assert "only to people that its owner let in" in result.stderr
        assert "Will " not in result.stderr
        assert "Starting operation: Keep" not in result.stderr


@pytest.mark.parametrize("flags", [("--dry",), ("-y",)], ids=str)
def test_a_branch_is_the_same_on_all_hosts(site: Site, flags: tuple[str, ...]) -> None:
    """The second host asks for the commit that the first one has; the branch moved on since."""
    declare(site, "h1", "h2")
    there = converged(artefacts_of(site), "@fake/h1") | GPU
    site.answer({"@fake/h1": there, "@fake/h2": fresh() | GPU | hub(COMMIT)})
    result = site.run("--diff", *flags)
    assert f"main ({COMMIT[:12]})" in result.stderr
    assert "problem" not in result.stderr
