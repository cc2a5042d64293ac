"""``atelier ca``, and what other verbs say of the entry."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from deploy.cli.load import load_artefacts
from tests.cli.run import run

INVENTORY = """
from deploy import Deployment, Entry, Host, Model, pyinfra_hosts
deployment = Deployment(
    name="demo", hosts=[Host(name="@local")], models=[Model(name="tiny-coder")], {entry}
)
hosts = pyinfra_hosts(deployment, __file__)
"""


def write(directory: Path, entry: str = "entry=Entry(names=['ai.lab.example'])") -> str:
    path = directory / "site.py"
    path.write_text(INVENTORY.format(entry=entry))
    return str(path)


@pytest.fixture
def deployed(tmp_path: Path) -> str:
    """An inventory whose secrets are kept."""
    inventory = write(tmp_path)
    load_artefacts(Path(inventory)).secrets.save()
    return inventory


def test_the_root_is_printed_and_nothing_else(deployed: str) -> None:
    root = run("ca", deployed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root)
    [loaded] = context.get_ca_certs()
    assert loaded["subject"] == ((("commonName", "Atelier demo root"),),)
    assert "PRIVATE" not in root
    assert run("ca", deployed) == root


def test_how_clients_take_it(deployed: str, tmp_path: Path) -> None:
    out = tmp_path / "lab.crt"
    said = run("ca", deployed, "--out", str(out), stream="stderr")
    assert out.read_text() == run("ca", deployed)
    assert f"sudo cp {out} /usr/local/share/ca-certificates/" in said
    assert f"NODE_EXTRA_CA_CERTS={out}" in said


def test_before_the_first_deployment(tmp_path: Path) -> None:
    said = run("ca", write(tmp_path), stream="stderr", status=1)
    assert "has no" in said
    assert "certificate authority" in said
    assert "deploy first" in said


def test_without_an_entry(tmp_path: Path) -> None:
    said = run("ca", write(tmp_path, entry=""), stream="stderr", status=1)
    assert "declare entry=Entry()" in said


def test_addresses_are_those_of_the_entry(deployed: str) -> None:
    facts = json.loads(run("info", deployed, "--json"))
    assert facts["router_url"] == "https://ai.lab.example/v1"
    assert facts["web_ui_url"] == "https://ai.lab.example"
    assert "atelier ca" in run("info", deployed)
    assert "atelier ca" not in run("env", deployed)
    assert "export SSL_CERT_FILE=root.crt" in run("env", deployed, stream="stderr")
    variables = json.loads(run("env", deployed, "--json"))
    assert variables["OPENAI_BASE_URL"] == "https://ai.lab.example/v1"
