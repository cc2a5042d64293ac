"""A deployment with Aristote in whole runs of pyinfra, on a host of its ``@fake`` connector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.fake_host import converged, fresh
from tests.test_pyinfra import INVENTORY, LOOKS, Site, plan

ARISTOTE = """router={"kind": "aristote"},
    postgres={"web_ui": False},"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    (site.directory / "responses.json").write_text("{}")
    site.inventory.write_text(INVENTORY.replace("# more", ARISTOTE))
    site.keep_secrets()
    return site


def artefacts_of(site: Site) -> Artefacts:
    declared = load_inventory(site.inventory)
    artefacts = make_artefacts(declared.spec, declared.directory)
    artefacts.secrets.save()
    return artefacts


def change(site: Site, old: str, new: str) -> None:
    text = site.inventory.read_text()
    assert old in text
    site.inventory.write_text(text.replace(old, new))


def test_a_second_run_changes_nothing(site: Site) -> None:
    site.answer(converged(artefacts_of(site)))
    result = site.execute("--json", "-vvv")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0
    assert result.stderr.count("Loaded fact") == LOOKS


def test_a_fresh_host_gets_each_after_what_it_waits_for(site: Site) -> None:
    site.answer(fresh())
    dry = site.run("--dry", "--json", "--diff")
    changed = [name for name, changes in plan(dry).items() if changes]
    assert [name for name in changed if name.startswith("Run the ")] == [
        "Run the stores",
        "Run the engines",
        "Run the consumers",
        "Run the routers",
        "Run the web UIs",
    ]
    # no one reads that file
    assert "engine_keys" not in dry.stderr
    kept = yaml.safe_load((site.directory / ".secrets" / "demo.yaml").read_text())
    result = site.execute("--json", "-vvv", "--diff")
    assert result.returncode == 0, result.stderr
    for name in ("engine_api_key", "router_master_key"):
        assert kept[name] not in dry.stdout + dry.stderr + result.stdout + result.stderr


def test_another_limit_replaces_the_consumer_alone(site: Site) -> None:
    site.answer(converged(artefacts_of(site)))
    limit = '{"kind": "aristote", "aristote": {"max_parallel_requests": 4}}'
    change(site, '{"kind": "aristote"}', limit)
    dry = site.run("--dry", "--json", "--diff")
    changed = [name for name, changes in plan(dry).items() if changes]
    assert changed == ["Run the consumers"]
    assert "QUALITY_OF_SERVICE_POLICY: warning-log -> parallel-requests" in dry.stderr


def test_litellm_gives_way(site: Site) -> None:
    change(site, '{"kind": "aristote"}', '{"kind": "litellm"}')
    before = artefacts_of(site)
    site.answer(converged(before))
    change(site, '{"kind": "litellm"}', '{"kind": "aristote"}')
    dry = site.run("--dry", "--json", "--diff")
    assert dry.returncode == 0, dry.stderr
    assert "Will remove container demo-litellm-0" in dry.stderr
    after = artefacts_of(site)
    for unit in after.stack.units:
        if "aristote" in unit.name or "rabbitmq" in unit.name:
            assert f"Will create container {unit.name}" in dry.stderr


def test_declared_people_get_keys_through_the_sender(site: Site) -> None:
    people = 'teams=[{"name": "physics"}],\n    people=[{"name": "ada", "team": "physics"}],'
    change(site, '"web_ui": False},', f'"web_ui": False}},\n    {people}')
    site.answer(fresh())
    dry = site.run("--dry", "--json", "--diff")
    assert plan(dry)["Keep people and keys"]
    assert "Will create key of ada" in dry.stderr
    result = site.execute("--json", "-vvv", "--diff")
    assert result.returncode == 0, result.stderr
    [handed] = (site.directory / ".secrets").glob("*/ada.env")
    key = handed.read_text().rpartition("=")[2].strip()
    assert key.startswith("sk-")
    assert key not in dry.stdout + dry.stderr + result.stdout + result.stderr
    # its script, not that of LiteLLM
    assert "atelier_people" in result.stderr
    assert "LITELLM_MASTER_KEY" not in result.stderr
