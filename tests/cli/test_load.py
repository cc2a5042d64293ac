"""``atelier load``, against a stand-in where the router listens."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.cli.load import load_artefacts
from deploy.cli.load_report import _key
from deploy.live.load import queue, workload
from deploy.live.load.queue import Queue
from deploy.plan.replica_plan import ReplicaPlan
from tests.cli.run import run
from tests.e2e.site import free_port
from tests.live.load.server import serving
from tests.recognisable import write_secrets

PORT = free_port()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """People who do not pause, and wait for their answers, so that some come however busy it is."""
    monkeypatch.setattr(workload, "TYPES_ON_SHARE", 0.0)
    for use, shape in workload.SHAPES.items():
        monkeypatch.setitem(workload.SHAPES, use, replace(shape, pause_seconds=0.05))


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    """A deployment on this machine, whose router would listen there."""
    settings = {
        "name": "lab",
        "profile": "individual",
        "hosts": [{"name": "@local"}],
        "models": [{"name": "tiny-coder"}],
        "router": {"port": PORT, "aliases": {"gpt-4o": "tiny-coder"}},
        "web_ui": None,
    }
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(settings))
    path = tmp_path / "inventory.py"
    path.write_text(
        "from pathlib import Path\nfrom deploy import Deployment, pyinfra_hosts\n"
        "deployment = Deployment.load(Path(__file__).parent / 'deployment.yaml')\n"
        "hosts = pyinfra_hosts(deployment, __file__)\n"
    )
    write_secrets(tmp_path / ".secrets" / "lab.yaml")
    return str(path)


def test_figures_and_a_page(inventory: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    asked = ("--users", "6", "--minutes", "0.08", "--yes", "--html", str(page))
    with serving(200.0, port=PORT):
        found = json.loads(run("load", inventory, *asked, "--json"))
    assert found["address"] == f"http://127.0.0.1:{PORT}"
    assert [(use["use"], use["people"]) for use in found["uses"]] == [
        ("completions", 3),
        ("chats", 3),
    ]
    completions = found["uses"][0]
    assert completions["answered"] >= 1
    assert completions["errors"] == {}
    assert completions["promise"]["tokens_per_second_per_user"] is None
    assert found["queue"] is None
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<script|src=|url\(|<link", text)
    assert "3 people completing code with tiny-coder" in text


def test_in_a_table(inventory: str) -> None:
    asked = ("--users", "2", "--minutes", "0.05", "--yes", "--use", "completions")
    with serving(200.0, port=PORT):
        text = run("load", inventory, *asked)
    assert "2 people completing code with tiny-coder" in text
    assert "the plan" in text
    assert "No engine says how many requests wait." in text


def test_engines_of_an_alias_are_looked_at(inventory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    @contextmanager
    def open_queue(_: object, replicas: list[ReplicaPlan]) -> Iterator[Callable[[float], Queue]]:
        looked_at.extend(replica.served_model_name for replica in replicas)
        yield lambda seconds: Queue(seconds, 1, 2)

    monkeypatch.setattr(queue, "open_queue", open_queue)
    asked = ("--users", "2", "--minutes", "0.05", "--yes", "--use", "completions")
    with serving(200.0, port=PORT):
        found = json.loads(run("load", inventory, *asked, "--model", "gpt-4o", "--json"))
    assert looked_at == ["tiny-coder"]
    assert found["queue"]["most_waiting"] == 1


@pytest.mark.parametrize("page", ["no/such/folder/page.html", "."])
def test_a_page_that_cannot_be_written_is_told_before(
    inventory: str, tmp_path: Path, page: str
) -> None:
    with serving(200.0, port=PORT):
        asked = ("--users", "2", "--yes", "--html", str(tmp_path / page))
        said = run("load", inventory, *asked, stream="stderr", status=2)
    assert "cannot be written" in said
    assert "people at" not in said


def test_nobody_is_asked_without_a_yes(inventory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with serving(200.0, port=PORT):
        said = run("load", inventory, "--users", "2", stream="stderr", status=130)
    assert "This is real load" in said
    assert said.rstrip().endswith("stopped")


def test_a_router_that_is_not_there(inventory: str) -> None:
    said = run("load", inventory, "--users", "2", "--yes", stream="stderr", status=1)
    assert f"nothing listens at 127.0.0.1:{PORT}" in said


def test_a_key_is_taken_from_the_environment(
    inventory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--users", "1", "--yes", "--key-env", "ADA_KEY")
    said = run("load", inventory, *asked, stream="stderr", status=1)
    assert "--key-env: the environment has no ADA_KEY" in said
    monkeypatch.setenv("ADA_KEY", "sk-of-ada-0123456789")
    assert _key(load_artefacts(Path(inventory)), "ADA_KEY") == "sk-of-ada-0123456789"
