"""What an engine compiled on one host, carried to a new replica on another, by pyinfra itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.fake_host import Responses, converged, units_answer
from tests.test_pyinfra import INVENTORY, Site

HOSTS = """
    hosts=[
        Host(name="@fake/h1", address="10.0.0.1"),
        Host(name="@fake/h2", address="10.0.0.2"),
    ],
    engine={"kind": "vllm", "offline": True,
            "huggingface_cache": "/srv/hf", "cpu_kvcache_space": 1},
    router=Router(host="@fake/h1"),
    web_ui=None,
"""
FIRST, SECOND = (f"demo-vllm-qwen2.5-coder-0.5b-{index}" for index in (0, 1))
VOLUME = "demo-vllm-qwen2.5-coder-0.5b"
FILL = f"Will fill volume {VOLUME}"
MACHINE = ["@architecture", "x86_64", "@features", "fpu avx2", "@sizes"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def declare(site: Site) -> Artefacts:
    site.declare()
    site.keep_secrets()
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', HOSTS.strip())
    site.inventory.write_text(
        text.replace('Model(name="tiny-coder")', 'Model(name="qwen2.5-coder-0.5b", replicas=2)')
    )
    loaded = load_inventory(site.inventory)
    artefacts = make_artefacts(loaded.spec, loaded.directory)
    artefacts.secrets.save()
    return artefacts


def answers(artefacts: Artefacts) -> dict[str, Responses]:
    """The first host serves, the second one's replica is yet to come."""
    first, second = converged(artefacts, "@fake/h1"), converged(artefacts, "@fake/h2")
    second["@directories"] = units_answer(artefacts, [])
    second['"$atelier_volumes"'] = second['"$atelier_volumes"'][:1]
    first["@architecture"] = [*MACHINE, f"{FIRST} 307200"]
    second["@architecture"] = MACHINE
    return {"@fake/h1": first, "@fake/h2": second}


def test_it_is_announced_with_its_size(site: Site) -> None:
    artefacts = declare(site)
    assert SECOND in [unit.name for unit in artefacts.stack.on("@fake/h2")]
    site.answer(answers(artefacts))
    result = site.run("--dry", "--json", "--diff")
    assert result.returncode == 0, result.stderr
    assert FILL in result.stderr
    assert f"compiled by: (none) -> {FIRST} on @fake/h1, 315 MB" in result.stderr
    rows = {row["name"]: row["hosts_with_change"] for row in json.loads(result.stdout)["plan"]}
    assert rows["Carry what engines compiled"] == ["@fake/h2"]


def test_nothing_is_carried_where_all_runs(site: Site) -> None:
    artefacts = declare(site)
    site.answer({name: converged(artefacts, name) for name in ("@fake/h1", "@fake/h2")})
    result = site.run("--dry", "--json", "--diff")
    assert result.returncode == 0, result.stderr
    assert "Will " not in result.stderr


def test_nothing_is_carried_to_another_kind_of_machine(site: Site) -> None:
    artefacts = declare(site)
    said = answers(artefacts)
    said["@fake/h2"]["@architecture"] = ["@architecture", "aarch64", "@features", "avx2", "@sizes"]
    site.answer(said)
    result = site.run("--dry", "--json", "--diff")
    assert FILL not in result.stderr
    assert f"Will create container {SECOND}" in result.stderr


def test_an_engine_starts_without_it_when_it_cannot_be_carried(site: Site) -> None:
    """Hosts that are made up have no file to fetch."""
    artefacts = declare(site)
    site.answer(answers(artefacts))
    result = site.execute("--diff")
    said = result.stdout + result.stderr
    assert f"{VOLUME} could not be carried: {SECOND} compiles itself" in said
    assert said.index("could not be carried") < said.rindex("Run the engines")
