"""The shipped inventory of a Mac in whole runs of pyinfra, on hosts of its ``@fake`` connector."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.hosts.mac.setup import daemons
from deploy.inventory import load_inventory
from deploy.secrets.fingerprint import make_fingerprint
from deploy.services.host_service import sha256
from deploy.services.ollama_model import manifest_path
from tests.fake_host import LOCK, Responses, converged, fresh, units_answer
from tests.golden import assert_golden
from tests.recognisable import write_secrets
from tests.test_pyinfra import ROOT, Site, plan

DRY_RUN = Path(__file__).parent / "golden" / "mac_dry_run.txt"
SHIPPED = (ROOT / "inventories" / "mac_studio.py").read_text(encoding="utf-8")
FAKE = """
import json
from pathlib import Path

responses = json.loads((Path(__file__).parent / "responses.json").read_text())
fake = {"fake_delay": 0, "fake_delay_jitter": 0}
hosts = [
    (name, data | fake | {"fake_responses": responses.get(name, responses)})
    for name, data in hosts
]
"""
WEB, MAC = "@fake/web", "@fake/mac"
SYSTEM = [
    *("@version", "15.5", "@kernel", "Darwin arm64", "@uid", "0", "@memory", str(256 * 1024**3)),
    *("@places", "directory yes rw /dev/disk3s5 900000000000 - - /System/Volumes/Data"),
    "volumes yes rw /dev/disk3s5 900000000000 - - /System/Volumes/Data",
    *("@ports", "22"),
]
CHIP = ["@chip", "Apple M3 Ultra", "@memory", str(256 * 1024**3), "@accounts", "_ollama"]
HAPROXY = ["@haproxy", "HAProxy version 3.3.6-1234 2026/07/01 - https://haproxy.org/"]
BREW = "/opt/homebrew/bin/haproxy"
BARE = [*CHIP, *HAPROXY, "@limit", "0", "@power", "sleep 1", "disksleep 10", "autorestart 0"]


class MacSite(Site):
    """The shipped inventory, on fake hosts."""

    def ship(self) -> Artefacts:
        text = SHIPPED.replace("web.lab.example", WEB).replace("mac.lab.example", MAC)
        self.inventory.write_text(text.replace("sudo=True", "sudo=False") + FAKE)
        (self.directory / "responses.json").write_text("{}")
        write_secrets(self.directory / ".secrets" / "coder.yaml")
        declared = load_inventory(self.inventory)
        artefacts = make_artefacts(declared.spec, declared.directory)
        # with the certificates of the link
        artefacts.secrets.save()
        return artefacts


@pytest.fixture
def site(tmp_path: Path) -> MacSite:
    return MacSite(tmp_path)


def bare_mac() -> Responses:
    """A Mac that somebody unpacked, with an account for engines."""
    return {
        **LOCK,
        "sw_vers": [*SYSTEM, "@sizes", f"1 {BREW}"],
        "cpu.brand_string": BARE,
        f" -- {BREW} 2>": [f"1 755 {BREW}"],
    }


def converged_mac(artefacts: Artefacts) -> Responses:
    """A Mac on which everything runs as wanted."""
    units = artefacts.stack.on(MAC)
    wanted = daemons(artefacts.host(MAC))
    ports = [str(port) for unit in units for _, port in unit.runs.listens]
    settings = [
        *HAPROXY,
        *("@limit", "229376", "@power", "sleep 0", "disksleep 0", "autorestart 1"),
        *("@daemons", *(f"{label} {sha256(text)}" for label, text in wanted.items())),
        *("@loaded", *wanted),
    ]
    holds = [unit.holds.to_label() for unit in units]
    stores: list[str] = []
    for unit in units:
        if not unit.models:
            continue
        [model] = unit.models
        name, source = model.name, model.source
        stores += [
            *(f"@store {unit.name}", "@record", f"{name} {source} d1"),
            *("@manifests", f"d1  ./{manifest_path(name)}"),
            *("@loaded", "NAME ID", f"{name} 0123"),
        ]
    known = ["@fingerprint", make_fingerprint(artefacts.secrets)]
    return {
        **LOCK,
        "sw_vers": [*SYSTEM, *ports, "@sizes", f"1 {BREW}", "@own_holds", *holds, *known],
        "cpu.brand_string": [*CHIP, *settings],
        "@directories": [*units_answer(artefacts, units), *stores],
        **{f" -- {path} 2>": [f"1 755 {path}"] for path in _programs(artefacts)},
    }


def _programs(artefacts: Artefacts) -> set[str]:
    return {str(unit.program.path) for unit in artefacts.stack.on(MAC) if unit.program}


def told(text: str) -> str:
    """What a run says of the Mac."""
    prefix = f"[{MAC}] "
    lines = [line.strip().removeprefix(prefix) for line in text.splitlines() if prefix in line]
    return "\n".join(line for line in lines if line[0] in "W ") + "\n"


@pytest.mark.golden
def test_the_dry_run_says_what_will_be_done(site: MacSite) -> None:
    site.ship()
    site.answer({WEB: fresh(), MAC: bare_mac()})
    result = site.run("--dry", "--json", "--diff", "--limit", MAC)
    found = plan(result)
    assert [name for name, changed in found.items() if changed] == [
        "Set up the Mac",
        "Keep generated secrets",
        "Install ollama 0.34.4",
        "Run the engines",
        "Run the links",
    ]
    assert_golden(DRY_RUN, told(result.stderr))


def test_a_host_that_is_no_mac_is_refused(site: MacSite) -> None:
    site.ship()
    linux = ["@kernel", "Linux x86_64", "@uid", "0", *SYSTEM[8:]]
    site.answer({WEB: fresh(), MAC: bare_mac() | {"sw_vers": linux, "cpu.brand_string": []}})
    result = site.run("--dry", "--json", "--limit", MAC)
    assert result.returncode == 1
    assert "operating system: Linux x86_64" in result.stderr
    assert "allowed: macOS, as declared" in result.stderr


def test_a_mac_without_haproxy_is_refused(site: MacSite) -> None:
    """Before anything is touched, on any host."""
    site.ship()
    site.answer({WEB: fresh(), MAC: bare_mac() | {"sw_vers": SYSTEM}})
    result = site.run("--json")
    assert result.returncode == 1
    assert f"program: {BREW} is not there" in result.stderr
    assert "fix: on the Mac: brew install haproxy" in result.stderr
    assert "Will create" not in result.stderr


def test_a_converged_mac_gets_nothing(site: MacSite) -> None:
    artefacts = site.ship()
    site.answer({WEB: converged(artefacts, WEB), MAC: converged_mac(artefacts)})
    result = site.run("--dry", "--json", "--diff")
    found = plan(result)
    assert "Set up the Mac" in found
    assert not any(found.values()), result.stderr
    assert "Will " not in result.stderr
