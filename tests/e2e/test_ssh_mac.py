"""A Mac over SSH, for which a Debian host stands in: deployed, changed, broken, back, removed.

The router's host is left out of these runs (``--limit``): what is seen is the Mac's side. Asserted
on the host, past SSH and past Atelier.
"""

from __future__ import annotations

import copy
import json
import plistlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.hosts import USER, Host, bridge, run_host
from tests.e2e.mac_stand_in import STATE, make_archive, make_mac
from tests.e2e.names import PROJECT, host_name
from tests.e2e.site import MASTER_KEY, Result, Settings, Site

NAME = "e2e-ollama-tiny-coder-0"
SERVICE = f"service {NAME}"
PLIST = f"/Library/LaunchDaemons/{NAME}.plist"
HOME = f"/var/lib/atelier.e2e/{NAME}"
LOG = f"/var/log/atelier/{NAME}.log"


@dataclass
class Rig:
    """The Mac, and what is deployed there."""

    site: Site
    mac: Host
    base: Settings

    def declare(self, *, mac: dict[str, Any] | None = None, **changes: Any) -> None:
        settings = copy.deepcopy(self.base)
        settings["hosts"][1] |= mac or {}
        for name, value in changes.items():
            settings[name] = settings[name] | value if isinstance(value, dict) else value
        self.site.write(settings)

    def version(self) -> str:
        """What answers at the port that the router asks."""
        answer = self.mac.run(f"curl -fsS http://{self.mac.address}:8000/api/version")
        return str(json.loads(answer)["version"])

    def programs(self) -> list[str]:
        return self.mac.run("ls /var/lib/atelier/programs/ollama").split()


class OnTheMac(Site):
    """Runs that go to the Mac alone, and leave out the proof, which asks the router."""

    def arguments(self, *flags: str) -> list[str]:
        return super().arguments("--limit", "mac", *flags)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    home = tmp_path_factory.mktemp("mac")
    for name in ("host", ".ssh"):
        (home / name).mkdir()
    for version in ("1", "2", "3-broken"):
        make_archive(home / f"ollama-{version}.tgz", version)
    with run_host(host_name("mac"), home / "host") as host:
        host.run("command -v curl || { apt-get update -q && apt-get install -y -q curl; }")
        make_mac(host)
        (home / ".ssh" / "known_hosts").write_text(host.known_host())
        settings = _settings(host)
        site = OnTheMac("e2e", home, settings, {"HOME": str(home), "E2E_MASTER_KEY": MASTER_KEY})
        deploy = (PROJECT / "deploy.py").read_text().removesuffix("verify.ask(deployment)\n")
        (home / "all_but_verify.py").write_text(deploy)
        site.deploy_file = str(home / "all_but_verify.py")
        yield Rig(site, host, settings)


def _program(version: str) -> dict[str, Any]:
    return {"ollama": {"archive": f"ollama-{version}.tgz", "version": version}}


def _settings(host: Host) -> Settings:
    mac = {
        "name": "mac",
        "address": host.address,
        "ssh_user": USER,
        "ssh_key": str(host.key),
        "sudo": True,
        "system": "macos",
        "gpus": "mac-studio-256",
        "wired_limit_mib": 200_000,
        "service_user": "ollama",
        "programs": _program("1"),
    }
    return {
        "name": "e2e",
        "profile": "individual",
        "hosts": [{"name": "web", "address": bridge()}, mac],
        "models": [{"name": "tiny-coder"}],
        "engine": {"kind": "ollama", "trusted_network": True, "start_timeout_seconds": 20},
        "web_ui": None,
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


def test_a_first_deployment_and_a_second_run(rig: Rig) -> None:
    planned = rig.site.apply()
    assert [step for step in planned.steps if not step[0].startswith("generate")] == [
        ("update", "power settings"),
        ("update", "memory of the GPU"),
        ("create", "service atelier.wired-limit"),
        ("create", "service atelier.logs"),
        ("create", "file /var/lib/atelier/deployments/e2e/secrets.fingerprint"),
        ("install", "program ollama 1"),
        *((a, r) for a, r in planned.steps if a == "copy"),
        ("create", SERVICE),
        ("create", f"model tiny-coder:latest in {NAME}"),
    ]
    assert rig.version() == "1"
    keys = plistlib.loads(rig.mac.run(f"cat {PLIST}").encode())
    assert (keys["Label"], keys["UserName"]) == (NAME, "ollama")
    pid = rig.mac.run(f"systemctl show mac-{NAME} --property MainPID").split("=")[1]
    assert rig.mac.run(f"ps -o user= -p {pid}") == "ollama"
    assert rig.mac.run(f"cat {STATE}/limit {STATE}/power").split("\n") == [
        *("200000", "sleep 0", "disksleep 0", "autorestart 1"),
    ]
    assert rig.mac.run(f"stat -L -f '%Lp' -- {HOME}") == "700"
    assert "tiny-coder:latest from-file-" not in rig.mac.run(f"cat {HOME}/models-by-atelier")
    assert rig.mac.run(f"cat {HOME}/models-by-atelier").startswith("tiny-coder:latest ")


def test_it_is_looked_at(rig: Rig) -> None:
    found = rig.site.atelier("status", "--json")
    rows = {row["service"]: row for row in json.loads(found.stdout)["services"]}
    row = rows[NAME]
    assert (row["state"], row["health"], row["drift"]) == ("running", "healthy", [])
    assert "serving with 1 at" in rig.site.atelier("logs", NAME).stdout


def steps(result: Result) -> list[tuple[str, str]]:
    assert result.status == 0, result.output
    return result.steps


def test_another_version_and_back(rig: Rig) -> None:
    rig.declare(mac={"programs": _program("2")})
    assert steps(rig.site.apply())[0] == ("install", "program ollama 2")
    assert rig.version() == "2"
    rig.declare()
    assert steps(rig.site.apply())[0] == ("recreate", SERVICE)
    assert (rig.version(), len(rig.programs())) == ("1", 2)


def test_a_version_that_does_not_start_gives_way_to_the_one_before(rig: Rig) -> None:
    rig.declare(mac={"programs": _program("3-broken")})
    result = rig.site.deploy()
    assert result.status != 0
    assert "no Metal in this one" in result.output
    assert "the service before it serves again" in result.output
    assert rig.version() == "1"
    rig.declare()
    assert rig.site.deploy().status == 0


def test_what_was_changed_by_hand_is_mended(rig: Rig) -> None:
    rig.mac.run(f"sed -i s/65536/4096/ {PLIST} && echo 0 >{STATE}/limit")
    rig.mac.run(f"launchctl disable system/{NAME} && launchctl bootout system/{NAME}")
    planned = rig.site.apply()
    assert ("update", "memory of the GPU") in planned.announced
    assert ("recreate", SERVICE) in planned.announced
    assert rig.version() == "1"
    assert "65536" in rig.mac.run(f"cat {PLIST}")


def test_it_is_removed(rig: Rig) -> None:
    found = rig.site.atelier("down", "--host", "mac", "--yes", "--volumes")
    assert found.returncode == 0, found.stdout + found.stderr
    assert rig.mac.run("ls /Library/LaunchDaemons").split() == [
        "atelier.logs.plist",
        "atelier.wired-limit.plist",
    ]
    assert rig.mac.run("ls /etc/atelier/services /var/log/atelier") in {
        "/etc/atelier/services:\n\n/var/log/atelier:",
    }
    assert rig.mac.run("ls -d /var/lib/atelier.e2e 2>/dev/null", check=False) == ""
