"""A driver that replaces one which serves: on one host first, through pyinfra itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.fake_host import converged
from tests.test_pyinfra import INVENTORY, ROOT, Site

NEWER = 'gpus="2x h100", driver=Driver(version="580.190.01")'
HOSTS = f"""
    hosts=[
        Host(name="@fake/h1", address="10.0.0.1", {NEWER}),
        Host(name="@fake/h2", address="10.0.0.2", {NEWER}),
        Host(name="@fake/h3", address="10.0.0.3"),
    ],
    engine=Engine(n_gpu_layers=0),
    router=Router(host="@fake/h3"),
    web_ui=None,
"""
NAMES = ("@fake/h1", "@fake/h2", "@fake/h3")
THEN = ", after the first of their kind"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.declare()
    site.keep_secrets()
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', HOSTS.strip())
    site.inventory.write_text(text.replace("Deployment, Host", "Deployment, Driver, Engine, Host"))
    loaded = load_inventory(site.inventory)
    site.answer(answers(make_artefacts(loaded.spec, loaded.directory)))
    return site


def answers(artefacts: Artefacts) -> dict[str, dict[str, list[str]]]:
    """Two hosts whose drivers serve, and one without cards."""
    fixtures = ROOT / "tests" / "facts" / "fixtures" / "drivers"
    serving = (fixtures / "serving_ubuntu.txt").read_text().splitlines()
    serving = ["BIOS" if line.startswith("   6   0") else line for line in serving]
    return {
        name: converged(artefacts, name)
        | {"section nvswitches": serving if name != "@fake/h3" else ["@pci"]}
        for name in NAMES
    }


def changed(result: Any) -> list[tuple[str, list[str]]]:
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads(result.stdout)["plan"]
    return [(r["name"], r["hosts_with_change"]) for r in rows if r["hosts_with_change"]]


def test_the_dry_run_says_who_is_first(site: Site) -> None:
    result = site.run("--dry", "--json", "--diff")
    assert changed(result)[:4] == [
        ("Install GPU drivers", ["@fake/h1"]),
        ("Restart @fake/h1 for its GPUs", ["@fake/h1"]),
        (f"Install GPU drivers{THEN}", ["@fake/h2"]),
        (f"Restart @fake/h2 for its GPUs{THEN}", ["@fake/h2"]),
    ]
    why = "after @fake/h1, where it is tried: if it fails there, this host keeps what it has"
    (line,) = [line for line in result.stderr.splitlines() if why in line]
    assert "[@fake/h2]" in line


def test_a_run_that_ends_at_the_first_leaves_the_others_alone(site: Site) -> None:
    result = site.execute("--diff")
    said = result.stdout + result.stderr
    assert result.returncode == 1, said
    assert "@fake/h1 must be restarted before its GPUs can be used" in said
    assert f"Starting operation: Install GPU drivers{THEN}" not in said
