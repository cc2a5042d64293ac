"""An engine as a service of a host without Docker, and the router in a container on another one.

Asserted on the hosts themselves, past SSH and past Atelier, and through the router.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.hosts import USER, Host, docker, run_host
from tests.e2e.llama_archive import make_archive
from tests.e2e.names import host_name
from tests.e2e.privacy import look_for_leaks, searched
from tests.e2e.remote import EVERYWHERE, containers_of
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Result,
    Settings,
    Site,
    complete_at,
)

NAME = "e2e-llama-cpp-tiny-coder-0"
SERVICE = ("recreate", f"service {NAME}")
UNIT = f"/etc/systemd/system/{NAME}.service"
ENVIRONMENT = f"/etc/atelier/services/{NAME}/environment"
PORT = 8000


@dataclass
class Rig:
    """The host with the engine, the host with the router, and what is deployed there."""

    site: Site
    engine: Host
    router: Host
    base: Settings

    def declare(self, *, host: dict[str, Any] | None = None, **changes: Any) -> None:
        """The base settings with some of them changed, also of the engine's host."""
        settings = copy.deepcopy(self.base)
        settings["hosts"][0] |= host or {}
        for name, value in changes.items():
            settings[name] = settings[name] | value if isinstance(value, dict) else value
        self.site.write(settings)

    def show(self, *properties: str) -> list[str]:
        """What systemd says of the engine."""
        values = self.engine.run(f"systemctl show {NAME} --property {','.join(properties)}")
        found = dict(line.split("=", 1) for line in values.splitlines())
        return [found[name] for name in properties]

    def pid(self) -> int:
        """The process of the engine; 0 if there is none."""
        return int(self.show("MainPID")[0])

    def ask(self, model: str = "tiny-coder", host: Host | None = None) -> str:
        """What the router's model completes ``def fib(n):`` with."""
        return complete_at(f"http://{(host or self.router).address}:4000", model)

    def programs(self) -> list[str]:
        """What is kept of every version."""
        return self.engine.run("ls /var/lib/atelier/programs/llama-server").split()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, pulled: Settings) -> Iterator[Rig]:
    home = tmp_path_factory.mktemp("native")
    for name in ("engine", "router", ".ssh"):
        (home / name).mkdir()
    make_archive(home / "llama-b1.tar.gz", "b1")
    with (
        run_host(host_name("native"), home / "engine", restarts=True) as engine,
        run_host(host_name("router"), home / "router", with_docker=True) as router,
    ):
        (home / ".ssh" / "known_hosts").write_text(engine.known_host() + router.known_host())
        settings = _settings(engine, router, pulled)
        environment = {"HOME": str(home), "E2E_MASTER_KEY": MASTER_KEY}
        yield Rig(Site("e2e", home, settings, environment), engine, router, settings)


def _settings(engine: Host, router: Host, images: Settings) -> Settings:
    registries = sorted({image["reference"].split("/")[0] for image in images.values()})
    common = {
        "ssh_user": USER,
        "sudo": True,
        "docker": "distribution",
        "docker_settings": {"insecure-registries": registries},
    }
    hosts = [
        {"name": name, "address": host.address, "ssh_key": str(host.key)} | common
        for name, host in (("engine", engine), ("router", router))
    ]
    program = {"archive": "llama-b1.tar.gz", "version": "b1"}
    hosts[0] |= {"engines": "native", "programs": {"llama-server": program}}
    start = {"start_timeout_seconds": START_TIMEOUT_SECONDS}
    return {
        "name": "e2e",
        "profile": "individual",
        "hosts": hosts,
        "models": [{"name": "tiny-coder"}],
        "engine": {"port": PORT, **start},
        "router": {"listen": EVERYWHERE, "host": "router", **start},
        "web_ui": None,
        "images": images,
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


def deploy(rig: Rig) -> Result:
    """A run that succeeds."""
    result = rig.site.deploy()
    assert result.status == 0, result.output
    return result


@pytest.fixture
def deployed(rig: Rig) -> Rig:
    """As it is declared first, whatever ran before: some tests run without the others."""
    rig.declare()
    deploy(rig)
    return rig


def test_a_first_deployment(rig: Rig) -> None:
    planned = rig.site.apply()
    assert {(row["action"], row["resource"]) for row in planned.changes} >= {
        ("install", "program llama-server b1"),
        ("create", f"service {NAME}"),
        ("create", "container e2e-litellm-0"),
    }
    assert rig.show("ActiveState", "UnitFileState") == ["active", "enabled"]
    assert "a, b = b, a + b" in rig.ask()
    assert rig.engine.run("command -v docker dockerd", check=False) == ""
    listening = rig.engine.run(f"ss -Hltn 'sport = :{PORT}'")
    assert f"{rig.engine.address}:{PORT}" in listening


def test_it_may_do_little(rig: Rig) -> None:
    pid = rig.pid()
    status = rig.engine.run(f"cat /proc/{pid}/status")
    rows = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert rows["Uid"].split()[0] != "0"
    assert (rows["CapEff"].strip(), rows["NoNewPrivs"].strip()) == ("0" * 16, "1")
    [limit] = rig.show("MemoryMax")
    assert int(limit) == 2 * 1024**3
    assert rig.engine.run(f"readlink /proc/{pid}/cwd").startswith("/var/lib/private/atelier.e2e/")
    # everything but its own directory is read-only for it
    mounts = rig.engine.run(f"cat /proc/{pid}/mountinfo")
    root = next(line for line in mounts.splitlines() if line.split()[4] == "/")
    assert root.split()[5].startswith("ro")


def test_its_key_is_for_root_alone(rig: Rig) -> None:
    key = rig.engine.run(f"cat {ENVIRONMENT}").split('"')[1]
    assert len(key) > 20
    assert rig.engine.run(f"stat -c '%a %U' {ENVIRONMENT}") == "600 root"
    assert rig.engine.run(f"stat -c '%a %U' $(dirname {ENVIRONMENT})") == "700 root"
    for place in (f"cat {UNIT}", "cat /proc/[0-9]*/cmdline", "journalctl --no-pager"):
        assert key not in rig.engine.run(place, check=False), place
    url = f"http://{rig.engine.address}:{PORT}"
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.post(f"{url}/v1/completions", json={"prompt": "x"}).status_code == 401


def test_looking_after_it(rig: Rig) -> None:
    status = json.loads(rig.site.atelier("status", "--json").stdout)
    assert status["ok"] is True, status
    [row] = [row for row in status["services"] if row["service"] == NAME]
    assert (row["host"], row["image"]) == ("engine", "llama-server b1")
    assert row["memory_limit_bytes"] == 2 * 1024**3
    assert row["uptime_seconds"] > 0
    verify = rig.site.atelier("verify", "--json")
    assert verify.returncode == 0, verify.stdout + verify.stderr
    assert "slot" in rig.site.atelier("logs", NAME).stdout
    assert rig.site.atelier("logs", NAME, "--tail", "2").stdout.count("\n") == 2
    assert rig.site.atelier("check").returncode == 0
    doctor = json.loads(rig.site.atelier("doctor", "--json").stdout)["findings"]
    found = {each["name"] for each in doctor if each["host"] == "engine"}
    assert "services" in found
    assert "Docker" not in found


def test_nothing_of_what_people_ask_is_kept(rig: Rig) -> None:
    """Not in the journal of the service, nor where its host keeps models and settings."""
    answer = look_for_leaks(rig.site)
    assert f"log {NAME}" in searched(answer)
    of_host = [row["name"] for row in answer["places"] if row["host"] == "engine"]
    assert any("/var/lib/atelier.e2e" in name for name in of_host), of_host
    journal = rig.engine.run(f"journalctl --no-pager --unit {NAME}")
    assert "atelierprivacy" not in journal
    # requests are in it, so that the search was not of an empty journal
    assert "POST /v1/chat/completions" in journal or "slot" in journal


def test_it_starts_with_its_host(rig: Rig) -> None:
    docker("restart", "--time", "20", rig.engine.name)
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while rig.engine.run(f"systemctl is-active {NAME}", check=False) != "active":
        assert time.monotonic() < deadline
        time.sleep(1)
    result = rig.site.deploy()
    assert (result.status, result.changes) == (0, []), result.output
    assert "a, b = b, a + b" in rig.ask()


def test_a_changed_argument_replaces_it(rig: Rig) -> None:
    before = rig.pid()
    rig.declare(engine={"extra_args": ["--threads-http", "3"]})
    planned = rig.site.apply()
    assert SERVICE in planned.announced
    assert planned.content[SERVICE] == [("command", "(none)", "--threads-http 3")]
    assert rig.pid() not in {0, before}
    assert "--threads-http" in rig.engine.run(f"tr '\\0' ' ' </proc/{rig.pid()}/cmdline")


def test_one_that_does_not_start_leaves_the_one_before(rig: Rig) -> None:
    unit = rig.engine.run(f"cat {UNIT}")
    rig.declare(engine={"extra_args": ["--no-such-flag"]})
    result = rig.site.deploy()
    assert result.status == 1
    assert f"{NAME}: the service before it serves again" in result.output
    assert "no-such-flag" in result.output
    assert rig.engine.run(f"cat {UNIT}") == unit
    assert rig.show("ActiveState", "UnitFileState") == ["active", "enabled"]
    assert "a, b = b, a + b" in rig.ask()
    assert rig.engine.run("ls /etc/atelier/services") == NAME
    rig.declare(engine={"extra_args": ["--threads-http", "3"]})
    assert deploy(rig).changes == []


@pytest.mark.parametrize(
    ("harm", "announced"),
    [
        (f"systemctl stop {NAME}", ("start", f"service {NAME}")),
        (f"systemctl disable {NAME}", ("enable", f"service {NAME}")),
        (f"echo LimitNOFILE=7 >>{UNIT}", SERVICE),
        (f"echo LLAMA_API_KEY=other >{ENVIRONMENT}", SERVICE),
        (f"systemctl stop {NAME}; rm -rf /etc/atelier {UNIT}", ("create", f"service {NAME}")),
    ],
)
def test_what_was_changed_by_hand_is_mended(
    rig: Rig, harm: str, announced: tuple[str, str]
) -> None:
    rig.engine.run(harm)
    planned = rig.site.apply()
    assert [(row["action"], row["resource"]) for row in planned.changes] == [announced]
    assert rig.show("ActiveState", "UnitFileState") == ["active", "enabled"]
    assert "a, b = b, a + b" in rig.ask()


@pytest.mark.long
def test_another_version_of_the_program(deployed: Rig) -> None:
    """The one before is kept until it is pruned."""
    rig = deployed
    make_archive(rig.site.directory / "llama-b2.tar.gz", "b2")
    [old] = rig.programs()
    program = {"archive": "llama-b2.tar.gz", "version": "b2"}
    rig.declare(host={"programs": {"llama-server": program}})
    planned = rig.site.apply()
    assert ("install", "program llama-server b2") in planned.announced
    assert ("version", "llama-server b1", "llama-server b2") in planned.content[SERVICE]
    assert len(rig.programs()) == 2
    pruned = rig.site.atelier("prune", "--yes")
    assert old in rig.site.atelier("prune", "--json").stdout or old not in rig.programs()
    assert pruned.returncode == 0, pruned.stderr
    [new] = rig.programs()
    assert new != old
    assert "a, b = b, a + b" in rig.ask()


@pytest.mark.long
def test_a_model_that_is_no_longer_wanted_goes(deployed: Rig) -> None:
    rig = deployed
    tiny = Path(__file__).parents[2] / "deploy/catalog/models/tiny-coder-q8_0.gguf"
    rig.declare(models=[{"name": "other", "path": str(tiny), "roles": ["completion"]}])
    planned = rig.site.apply()
    assert ("remove", f"service {NAME}") in planned.announced
    assert rig.engine.run("ls /etc/systemd/system/e2e-*") == (
        "/etc/systemd/system/e2e-llama-cpp-other-0.service"
    )
    assert rig.engine.run("ls /etc/atelier/services") == "e2e-llama-cpp-other-0"
    assert "a, b = b, a + b" in rig.ask("other")
    rig.declare()
    rig.site.apply()
    assert "a, b = b, a + b" in rig.ask()


@pytest.mark.long
def test_it_moves_into_a_container_and_back(deployed: Rig) -> None:
    """On the same port; the host gets Docker for that."""
    rig = deployed
    rig.declare(host={"engines": "containers", "programs": {}})
    planned = rig.site.apply()
    moved = ("recreate", f"container {NAME}")
    assert planned.content[moved] == [("runs as", "service", "container")]
    assert containers_of(rig.engine)[NAME][1] == "running"
    assert (
        rig.engine.run(f"ls {UNIT} /etc/atelier/services", check=False) == "/etc/atelier/services:"
    )
    assert "a, b = b, a + b" in rig.ask()
    rig.declare()
    planned = rig.site.apply()
    assert planned.content[SERVICE] == [("runs as", "container", "service")]
    assert containers_of(rig.engine) == {}
    assert rig.show("ActiveState") == ["active"]
    assert "a, b = b, a + b" in rig.ask()


@pytest.mark.long
def test_a_service_that_fails_leaves_the_container_before_it(deployed: Rig) -> None:
    rig = deployed
    rig.declare(host={"engines": "containers", "programs": {}})
    deploy(rig)
    before = containers_of(rig.engine)[NAME]
    rig.declare(engine={"extra_args": ["--no-such-flag"]})
    result = rig.site.deploy()
    assert result.status == 1
    assert f"{NAME}: the container before it serves again" in result.output
    assert containers_of(rig.engine)[NAME][0] == before[0]
    assert rig.engine.run("ls /etc/atelier/services") == ""
    assert "a, b = b, a + b" in rig.ask()
    rig.declare()
    deploy(rig)


@pytest.mark.long
def test_a_router_on_the_same_host(deployed: Rig) -> None:
    """Its container reaches the engine at the host's address."""
    rig = deployed
    rig.declare(router={"host": "engine"})
    deploy(rig)
    assert set(containers_of(rig.engine)) == {"e2e-litellm-0"}
    assert rig.show("ActiveState") == ["active"]
    assert "a, b = b, a + b" in rig.ask(host=rig.engine)
    assert rig.site.deploy().changes == []


def test_everything_goes(rig: Rig) -> None:
    assert rig.engine.run("ls -d /var/lib/atelier.e2e") == "/var/lib/atelier.e2e"
    down = rig.site.atelier("down", "--volumes", "--yes")
    assert down.returncode == 0, down.stdout + down.stderr
    assert rig.engine.run("ls /etc/systemd/system/e2e-* /var/lib/atelier.e2e", check=False) == ""
    assert rig.engine.run("ls /etc/atelier/services /var/lib/private") == (
        "/etc/atelier/services:\n\n/var/lib/private:"
    )
    assert rig.engine.run(f"ss -Hltn 'sport = :{PORT}'") == ""
    assert containers_of(rig.router) == containers_of(rig.engine) == {}
