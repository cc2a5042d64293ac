"""The inventory that sites copy: as it stands, and every line that it offers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.inventory import load_inventory
from deploy.spec import DeploymentSpec, HostSpec
from tests.plan.goldens import ROOT

PROD = ROOT / "inventories" / "prod.py"
OFFERED = re.compile(r'^( *)# (?=(\w+=|"\w+": |Host\(|Model\().*,$)')


def offered_lines() -> dict[str, int]:
    lines = PROD.read_text(encoding="utf-8").splitlines()
    return {line.strip(): number for number, line in enumerate(lines) if OFFERED.match(line)}


def declared(path: Path) -> DeploymentSpec:
    return load_inventory(path).spec


def test_as_it_stands_it_is_this_machine_on_its_own() -> None:
    spec = declared(PROD)
    assert [host.name for host in spec.hosts] == ["@local"]
    assert {str(spec.router.listen), str(spec.web_ui and spec.web_ui.listen)} == {"127.0.0.1"}
    assert spec.secrets == {}


@pytest.mark.parametrize("line", offered_lines())
def test_every_line_that_it_offers_can_be_taken(line: str, tmp_path: Path) -> None:
    lines = PROD.read_text(encoding="utf-8").splitlines()
    number = offered_lines()[line]
    lines[number] = OFFERED.sub(r"\1", lines[number])
    copy = tmp_path / "prod.py"
    copy.write_text("\n".join(lines), encoding="utf-8")
    assert declared(copy) != declared(PROD)


def test_all_of_them_together(tmp_path: Path) -> None:
    text = "\n".join(OFFERED.sub(r"\1", line) for line in PROD.read_text().splitlines())
    copy = tmp_path / "prod.py"
    copy.write_text(text.replace("@local", "gpu1.lab.example"), encoding="utf-8")
    spec = declared(copy)
    assert len(spec.hosts) == len(spec.models) == 2
    assert set(spec.secrets) == {"router_master_key", "engine_api_key", "web_ui_admin_password"}


def test_what_an_ssh_host_needs_is_shown() -> None:
    text = PROD.read_text(encoding="utf-8")
    settings = {name for name in HostSpec.model_fields if name.startswith("ssh_")}
    shown = {name for name in settings if f"{name}=" in text}
    assert settings - shown == {"ssh_host_keys"}
