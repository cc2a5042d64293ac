"""A replica that lies on two hosts, through pyinfra itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.fake_host import converged, units_answer
from tests.test_pyinfra import INVENTORY, Site


def hosts_and_engine(count: int) -> str:
    """Lines of an inventory: hosts, of which the last one has the router."""
    hosts = [
        f'Host(name="@fake/h{number}", address="10.0.0.{number}")' for number in range(1, count + 1)
    ]
    return f"""
    hosts=[{", ".join(hosts)}],
    engine={{"kind": "vllm", "nnodes": 2, "trusted_network": True, "offline": True,
            "huggingface_cache": "/srv/hf", "cpu_kvcache_space": 1}},
    router=Router(host="@fake/h{count}"),
    web_ui=None,
""".strip()


NAMES = ("@fake/h1", "@fake/h2", "@fake/h3")
ASKED = "demo-vllm-qwen2.5-coder-0.5b-0"
NODE = f"{ASKED}-node-1"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def declare(site: Site, *, hosts: int = 3, replicas: int = 1) -> Artefacts:
    site.declare()
    site.keep_secrets()
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', hosts_and_engine(hosts))
    model = f'name="qwen2.5-coder-0.5b", replicas={replicas}'
    site.inventory.write_text(text.replace('name="tiny-coder"', model))
    loaded = load_inventory(site.inventory)
    return make_artefacts(loaded.spec, loaded.directory)


def answers(artefacts: Artefacts) -> dict[str, dict[str, list[str]]]:
    return {host.name: converged(artefacts, host.name) for host in artefacts.spec.hosts}


def without(artefacts: Artefacts, host: str, gone: str) -> list[str]:
    """What a host says of its units that has lost one."""
    return units_answer(artefacts, [u for u in artefacts.stack.on(host) if u.name != gone])


def changed(result: Any) -> list[tuple[str, list[str]]]:
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads(result.stdout)["plan"]
    return [(r["name"], r["hosts_with_change"]) for r in rows if r["hosts_with_change"]]


def test_nodes_start_before_the_one_that_they_wait_for(site: Site) -> None:
    declare(site)
    result = site.run("--dry", "--json", "--diff")
    order = [row for row in changed(result) if row[0].startswith("Run the")]
    assert order == [
        ("Run the nodes", ["@fake/h2"]),
        ("Run the engines", ["@fake/h1"]),
        ("Run the routers", ["@fake/h3"]),
    ]
    assert f"Will create container {NODE}" in result.stderr
    assert "Will restart" not in result.stderr


def test_one_that_runs_stays_as_it_is(site: Site) -> None:
    artefacts = declare(site)
    site.answer(answers(artefacts))
    assert changed(site.run("--dry", "--json")) == []


@pytest.mark.parametrize(
    ("host", "gone", "other", "tier"),
    [
        ("@fake/h2", NODE, ASKED, ("Run the nodes", "Run the engines")),
        ("@fake/h1", ASKED, NODE, ("Run the engines", "Run the nodes")),
    ],
)
def test_one_that_is_gone_takes_the_others_with_it(
    site: Site, host: str, gone: str, other: str, tier: tuple[str, str]
) -> None:
    artefacts = declare(site)
    said = answers(artefacts)
    said[host]["@directories"] = without(artefacts, host, gone)
    site.answer(said)
    result = site.run("--dry", "--json", "--diff")
    there = next(name for name in NAMES[:2] if name != host)
    assert sorted(changed(result)) == sorted([(tier[0], [host]), (tier[1], [there])])
    assert f"Will create container {gone}" in result.stderr
    assert f"Will restart container {other}" in result.stderr
    assert "replica: changes on another host -> whole" in result.stderr


def test_a_changed_setting_changes_all_of_them_and_restarts_none(site: Site) -> None:
    artefacts = declare(site)
    site.answer(answers(artefacts))
    text = site.inventory.read_text()
    site.inventory.write_text(text.replace('"cpu_kvcache_space": 1', '"cpu_kvcache_space": 2'))
    result = site.run("--dry", "--json", "--diff")
    assert changed(result) == [("Run the nodes", ["@fake/h2"]), ("Run the engines", ["@fake/h1"])]
    assert result.stderr.count("Will recreate container") == 2
    assert "Will restart" not in result.stderr


def test_two_of_them_change_one_after_the_other(site: Site) -> None:
    """Only the first hosts serve; the others of each change with it, and are made ready before."""
    artefacts = declare(site, hosts=5, replicas=2)
    site.answer(answers(artefacts))
    text = site.inventory.read_text()
    site.inventory.write_text(text.replace('"cpu_kvcache_space": 1', '"cpu_kvcache_space": 2'))
    assert changed(site.run("--dry", "--json", "--diff")) == [
        ("Run the nodes", ["@fake/h2", "@fake/h4"]),
        ("Change the engines of @fake/h1 while others serve", ["@fake/h1"]),
        ("Change the engines of @fake/h3 while others serve", ["@fake/h3"]),
    ]


def test_it_is_carried_out_as_announced(site: Site) -> None:
    artefacts = declare(site)
    said = answers(artefacts)
    said["@fake/h2"]["@directories"] = without(artefacts, "@fake/h2", NODE)
    for host, name in (("@fake/h1", ASKED), ("@fake/h2", NODE)):
        said[host][f"atelier glance {name} "] = [f"ok {name} is running and healthy"]
    site.answer(said)
    result = site.execute("--diff")
    assert result.returncode == 0, result.stdout + result.stderr
    said_first = (result.stdout + result.stderr).index(f"create container {NODE}")
    assert f"restart container {ASKED}" in (result.stdout + result.stderr)[said_first:]
