"""A Mac over SSH, for which a Debian host stands in: deployed, changed, broken, back, removed.

The router's host is left out of these runs (``--limit``): what is seen is the Mac's side. Its
engines are asked the way that routers take, through the link, with the routers' certificate.
Asserted on the host, past SSH and past Atelier.
"""

from __future__ import annotations

import copy
import json
import plistlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.tls.authority import CERTIFICATE_DAYS, issue
from deploy.tls.pair import Pair
from tests.e2e.hosts import USER, Host, bridge, run_host
from tests.e2e.mac_stand_in import BREW, STATE, make_archive, make_llama_archive, make_mac
from tests.e2e.names import PROJECT, host_name
from tests.e2e.site import MASTER_KEY, Result, Settings, Site

NAME = "e2e-ollama-tiny-coder-0"
SERVICE = f"service {NAME}"
PLIST = f"/Library/LaunchDaemons/{NAME}.plist"
HOME = f"/var/lib/atelier.e2e/{NAME}"
LINK = "e2e-link-server-mac-0"
LLAMA = "e2e-llama-cpp-tiny-coder-0"
CURRENT = "/var/lib/atelier/deployments/e2e/config/link-server/current"


FILES = ("authority.pem", "haproxy.cfg", "link.pem", "link.pem.key")
SOCKET = "/var/lib/atelier.e2e/link/health"


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

    @property
    def kept(self) -> dict[str, Any]:
        """The secrets of the deployment."""
        path = self.site.directory / ".secrets" / "e2e.yaml"
        found: dict[str, Any] = yaml.safe_load(path.read_text())
        return found

    def ask(self, path: str, pair: str = "web client", **request: Any) -> httpx.Response:
        """Ask the link for something, with a certificate of the deployment, or with none."""
        links = self.kept["links"]
        context = ssl.create_default_context(cadata=links["authority"]["certificate"])
        if pair:
            file = self.site.directory / "offered.pem"
            file.write_text("".join(links["pairs"][pair][part] for part in ("certificate", "key")))
            context.load_cert_chain(file)
        with httpx.Client(verify=context, timeout=60) as client:
            return client.request(
                request.pop("method", "GET"),
                f"https://{self.mac.address}:8443{path}",
                extensions={"sni_hostname": "mac.link"},
                **request,
            )

    def version(self) -> str:
        """What answers at the place that the router asks."""
        return str(self.ask(f"/{NAME}/api/version").json()["version"])

    def shown(self) -> str:
        """The certificate that whoever connects is shown."""
        return ssl.get_server_certificate((self.mac.address, 8443))

    def pid(self, name: str) -> str:
        """The process that launchd has started."""
        return self.mac.run(f"systemctl show mac-{name} --property MainPID").split("=")[1]

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
    make_llama_archive(home / "llama-b1.tgz", "b1")
    with run_host(host_name("mac"), home / "host") as host:
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
        "engine": {"kind": "ollama", "start_timeout_seconds": 20},
        "web_ui": None,
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


def test_a_first_deployment_and_a_second_run(rig: Rig) -> None:
    planned = rig.site.apply()
    assert [step for step in planned.steps if step[0].split()[0] not in {"generate", "make"}] == [
        ("update", "power settings"),
        ("update", "memory of the GPU"),
        ("create", "service atelier.wired-limit"),
        ("create", "service atelier.logs"),
        ("create", "file /var/lib/atelier/deployments/e2e/secrets.fingerprint"),
        ("install", "program ollama 1"),
        *((a, r) for a, r in planned.steps if a == "copy"),
        ("create", SERVICE),
        ("create", f"model tiny-coder:latest in {NAME}"),
        *(("create", f"file {CURRENT}/{name}") for name in FILES),
        ("create", f"service {LINK}"),
    ]
    assert rig.version() == "1"
    keys = plistlib.loads(rig.mac.run(f"cat {PLIST}").encode())
    assert (keys["Label"], keys["UserName"]) == (NAME, "ollama")
    assert rig.mac.run(f"ps -o user= -p {rig.pid(NAME)}") == "ollama"
    assert rig.mac.run(f"cat {STATE}/limit {STATE}/power").split("\n") == [
        *("200000", "sleep 0", "disksleep 0", "autorestart 1"),
    ]
    assert rig.mac.run(f"stat -L -f '%Lp' -- {HOME}") == "700"
    assert "tiny-coder:latest from-file-" not in rig.mac.run(f"cat {HOME}/models-by-atelier")
    assert rig.mac.run(f"cat {HOME}/models-by-atelier").startswith("tiny-coder:latest ")


def test_the_link_is_open_to_the_routers_alone(rig: Rig) -> None:
    """The engine listens on the Mac alone, and whoever has another certificate asks nothing."""
    for pair in ("", "mac server"):
        with pytest.raises(httpx.HTTPError):
            rig.ask(f"/{NAME}/api/version", pair)
    assert rig.ask("/another/api/version").json()["error"]["code"] == "service_unavailable"
    listening = rig.mac.run("ss -Hltn '( sport = :8000 or sport = :8443 )' | awk '{ print $4 }'")
    assert set(listening.split()) == {"127.0.0.1:8000", f"{rig.mac.address}:8443"}
    rows = rig.mac.run(f"/usr/bin/stat -c '%U %a %n' {CURRENT}/*").splitlines()
    assert f"ollama 600 {CURRENT}/link.pem.key" in rows
    assert set(rig.mac.run("ps -C haproxy -o user=").split()) == {"ollama"}
    assert (
        rig.mac.run(
            f"curl -s --unix-socket {SOCKET} http://link/health -o /dev/null -w '%{{http_code}}'"
        )
        == "200"
    )
    assert rig.mac.run(f"/usr/bin/stat -c '%U %a' {SOCKET}") == "ollama 600"


def test_it_is_looked_at(rig: Rig) -> None:
    found = rig.site.atelier("status", "--json")
    rows = {row["service"]: row for row in json.loads(found.stdout)["services"]}
    for name in (NAME, LINK):
        row = rows[name]
        assert (row["state"], row["health"], row["drift"]) == ("running", "healthy", [])
    assert rows[LINK]["certificate_days"] in range(CERTIFICATE_DAYS - 3, CERTIFICATE_DAYS)
    assert "serving with 1 at 127.0.0.1:8000" in rig.site.atelier("logs", NAME).stdout
    assert f'"backend":"{NAME}","status":200' in rig.site.atelier("logs", LINK).stdout


@contextmanager
def steady_requests(rig: Rig) -> Iterator[list[str]]:
    """Ask all the time; gives what went wrong."""
    failures: list[str] = []
    stopped, begun = threading.Event(), threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            try:
                answer = rig.ask(f"/{NAME}/api/version").status_code
                failures.extend([str(answer)] if answer != 200 else [])
            except httpx.HTTPError as error:
                failures.append(repr(error))
            begun.set()

    thread = threading.Thread(target=ask)
    thread.start()
    begun.wait()
    try:
        yield failures
    finally:
        stopped.set()
        thread.join()


def test_another_certificate_is_taken_while_requests_go_on(rig: Rig) -> None:
    path, kept = rig.site.directory / ".secrets" / "e2e.yaml", rig.kept
    # as if a year had passed
    soon = datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS - 20)
    authority = Pair(**kept["links"]["authority"])
    kept["links"]["pairs"]["mac server"] = vars(issue(authority, ("mac.link",), soon, "server"))
    path.write_text(yaml.safe_dump(kept))
    before, pid = rig.shown(), rig.pid(LINK)
    with steady_requests(rig) as failures:
        done = rig.site.deploy()
    assert failures == []
    assert {step for step in steps(done) if step[0] == "update"} == {
        ("update", f"file {CURRENT}/link.pem"),
        ("update", f"file {CURRENT}/link.pem.key"),
    }
    assert rig.shown() == rig.kept["links"]["pairs"]["mac server"]["certificate"] != before
    assert rig.pid(LINK) == pid
    assert rig.site.deploy().changes == []


def test_without_haproxy_nothing_is_touched(rig: Rig) -> None:
    rig.mac.run(f"mv {BREW}/haproxy {BREW}/away")
    rig.declare(mac={"programs": _program("2")})
    result = rig.site.deploy()
    rig.mac.run(f"mv {BREW}/away {BREW}/haproxy")
    assert result.status != 0
    assert "fix: on the Mac: brew install haproxy" in result.output
    assert (rig.version(), len(rig.programs())) == ("1", 1)


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


def test_llama_cpp_takes_the_place_of_ollama(rig: Rig) -> None:
    """The real program, which takes MTL0 for its processor here: asked with the engines' key."""
    llama = {"llama-server": {"archive": "llama-b1.tgz", "version": "b1"}}
    rig.declare(
        mac={"programs": _program("1") | llama},
        engine={"kind": "llama_cpp", "start_timeout_seconds": 120},
    )
    assert set(steps(rig.site.apply())) >= {
        ("install", "program llama-server b1"),
        ("remove", SERVICE),
        ("create", f"service {LLAMA}"),
        ("update", f"file {CURRENT}/haproxy.cfg"),
    }
    key = rig.kept["engine_api_key"]
    request: dict[str, Any] = {
        "method": "POST",
        "json": {"model": "tiny-coder", "prompt": "def fib(n):", "max_tokens": 8},
    }
    path = f"/{LLAMA}/v1/completions"
    assert rig.ask(path, **request).status_code == 401
    answer = rig.ask(path, headers={"Authorization": f"Bearer {key}"}, **request)
    assert answer.json()["choices"][0]["text"]
    found = rig.mac.run(f"grep -rl {key} /Library /etc/atelier /var/log /var/lib/atelier").split()
    assert [Path(each).name for each in found] == ["api_key"]
    assert rig.mac.run(f"/usr/bin/stat -c '%U %a' {found[0]}") == "ollama 600"
    assert key not in rig.mac.run("ps axww -o args=")
    rows = json.loads(rig.site.atelier("status", "--json").stdout)["services"]
    assert {row["service"]: row["health"] for row in rows if row["host"] == "mac"} == {
        LLAMA: "healthy",
        LINK: "healthy",
    }


def test_a_network_that_is_trusted_needs_no_link(rig: Rig) -> None:
    rig.declare(engine={"trusted_network": True})
    assert ("remove", f"service {LINK}") in steps(rig.site.deploy())
    assert rig.mac.run(f"curl -fsS http://{rig.mac.address}:8000/api/version") == '{"version":"1"}'
    assert rig.mac.run("ps -C haproxy -o user=", check=False) == ""
    rig.declare()
    assert ("create", f"service {LINK}") in steps(rig.site.deploy())
    assert rig.version() == "1"


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
