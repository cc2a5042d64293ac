"""The atelier command on a real deployment, asserted through the container engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from pydantic import ByteSize, TypeAdapter

from tests.e2e.names import NAME
from tests.e2e.site import (
    ATELIER,
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Settings,
    Site,
    free_port,
    run_local_site,
)
from tests.e2e.test_changes import ENGINE, ROUTER, docker

Change = Callable[..., Settings]


def test_verify(site: Site) -> None:
    answer = site.atelier("verify", "--json")
    report = json.loads(answer.stdout)
    assert answer.returncode == 0, answer.stdout
    assert report["ok"] is True
    assert [check["name"] for check in report["checks"]] == [
        "engine tiny-coder",
        "router tiny-coder completion",
        "router tiny-coder streamed completion",
        "router tiny-coder chat",
        "router tiny-coder streamed chat",
    ]
    assert all(check["seconds"] > 0 for check in report["checks"])

    docker("stop", f"{NAME}-{ENGINE}-0")
    broken = site.atelier("verify", "--json")
    report = json.loads(broken.stdout)
    assert broken.returncode == 1
    assert [check["ok"] for check in report["checks"]] == [False] * 5


def test_check(site: Site, changed: Change) -> None:
    quiet = site.atelier("check", "--json")
    assert (quiet.returncode, json.loads(quiet.stdout)) == (0, {"pending": 0, "changes": []})
    before = site.snapshot()
    site.write(changed(engine__threads=1))
    pending = site.atelier("check", "--json")
    assert pending.returncode == 2
    (change,) = json.loads(pending.stdout)["changes"]
    assert (change["host"], change["action"]) == ("@local", "recreate")
    assert change["fields"][0]["field"] == "command"
    assert site.snapshot() == before
    site.write(changed(router__port="many"))
    error = site.atelier("check", "--json")
    assert error.returncode == 1
    assert "router.port" in json.loads(error.stdout)["error"]


def test_status(site: Site) -> None:
    report = json.loads(site.atelier("status", "--json").stdout)
    assert report["ok"] is True
    engine, router = report["services"]
    assert engine["service"] == f"{NAME}-{ENGINE}-0"
    assert (engine["state"], engine["health"], engine["drift"]) == ("running", "healthy", [])
    used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", f"{NAME}-{ENGINE}-0")
    expected = TypeAdapter(ByteSize).validate_python(used.split(" / ")[0])
    assert abs(engine["memory_bytes"] - expected) < 4 * 1024**2
    assert router["url"] == site.router_url
    docker("update", "--restart", "no", f"{NAME}-{ENGINE}-0")
    docker("rm", "--force", f"{NAME}-{ROUTER}-0")
    shown = site.atelier("status", "--json")
    engine, router = json.loads(shown.stdout)["services"]
    assert shown.returncode == 1
    assert engine["drift"] == ["live restart"]
    assert router["state"] == "absent"


def test_logs(site: Site) -> None:
    shown = site.atelier("logs", "llama", "--tail", "5")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 5
    ambiguous = site.atelier("logs", NAME)
    assert ambiguous.returncode == 1
    assert f"{NAME}-litellm-0" in ambiguous.stderr


def test_logs_follow(site: Site) -> None:
    with subprocess.Popen(
        [*ATELIER, "logs", str(site.inventory), "litellm", "--follow", "--tail", "0"],
        stdout=subprocess.PIPE,
        env=site.env(),
        text=True,
    ) as following:
        assert following.stdout is not None
        try:
            line = ""
            for _ in range(30):
                site.complete()
                line = following.stdout.readline()
                if "/v1/completions" in line:
                    break
            assert "/v1/completions" in line
        finally:
            following.terminate()


def test_env_makes_an_openai_client_work(site: Site) -> None:
    show = 'printf "%s\\n%s" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'
    script = f'eval "$("$ATELIER" env "$INVENTORY")"; {show}'
    printed = subprocess.run(
        ["sh", "-c", script],
        env=site.env() | {"ATELIER": ATELIER[0], "INVENTORY": str(site.inventory)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    base_url, key = printed.splitlines()
    assert key == MASTER_KEY
    client = openai.OpenAI(base_url=base_url, api_key=key)
    answer = client.chat.completions.create(
        model="tiny-coder", messages=[{"role": "user", "content": "ping"}], temperature=0
    )
    assert answer.choices[0].message.content == "pong"


def test_down_removes_only_its_own(site: Site, tmp_path: Path) -> None:
    """Another deployment on the same host keeps everything."""
    other_settings = site.settings | {
        "hosts": [{"name": "@local", "directory": str(tmp_path / "host")}],
        "router": {"port": free_port(), "start_timeout_seconds": START_TIMEOUT_SECONDS},
    }
    (tmp_path / "other").mkdir()
    with run_local_site(f"{NAME}-other", tmp_path / "other", other_settings) as other:
        assert other.deploy().status == 0
        theirs = other.snapshot()
        ours = site.snapshot()
        down = site.atelier("down", "--yes")
        assert down.returncode == 0, down.stderr
        for name in ours:
            assert f"remove container {name}" in down.stdout
        assert site.snapshot() == {}
        assert not site.client.networks.list(names=[f"^{NAME}$"])
        assert other.snapshot() == theirs
        assert "a, b = b, a + b" in other.complete()
        assert "Nothing to remove." in site.atelier("down", "--yes").stdout


def test_down_says_who_is_in_the_network(site: Site) -> None:
    """A container of somebody else, which is left alone; the next run removes the rest."""
    image = str(site.container("llama-cpp-tiny-coder").attrs["Config"]["Image"])
    guest = site.client.containers.create(image, ["60"], entrypoint=["sleep"], network=NAME)
    guest.start()
    try:
        down = site.atelier("down", "--yes")
        assert down.returncode == 1
        assert "docker network inspect names it" in " ".join(down.stderr.split())
        guest.reload()
        assert guest.status == "running"
    finally:
        guest.remove(force=True)
    assert site.atelier("down", "--yes").returncode == 0
    assert not site.client.networks.list(names=[f"^{NAME}$"])


def test_down_asks_first(site: Site) -> None:
    before = site.snapshot()
    refused = site.atelier("down")
    assert refused.returncode != 0
    assert site.snapshot() == before


@pytest.fixture
def ssh_port(tmp_path: Path) -> Iterator[int]:
    """An SSH server of this user on loopback, its host key known and a key of its own allowed."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    port = free_port()
    public = (tmp_path / "host_key.pub").read_text().split()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    config = tmp_path / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {tmp_path}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/user_key.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]) as server:
        try:
            yield port
        finally:
            server.terminate()


@pytest.fixture
def remote(site: Site, ssh_port: int, tmp_path: Path) -> Iterator[Site]:
    """The same deployment, looked at through SSH and its tunnels."""
    images = {
        name: {"reference": site.container(service).attrs["Config"]["Image"]}
        for name, service in (("llama-cpp", ENGINE), ("litellm", ROUTER))
    }
    host = site.settings["hosts"][0] | {
        "name": "127.0.0.1",
        "ssh_port": ssh_port,
        "ssh_user": "root",
        "ssh_key": str(tmp_path / "user_key"),
    }
    settings = site.settings | {"hosts": [host], "image_source": "pull", "images": images}
    secrets = site.directory / f".secrets/{NAME}.yaml"
    directory = tmp_path / "remote"
    directory.mkdir()
    environment = site.environment | {"HOME": str(tmp_path / "home")}
    settings |= {"secrets_file": os.fspath(secrets)}
    made = Site(NAME, directory, settings, environment)
    yield made
    made.client.close()


def test_status_and_verify_over_ssh(remote: Site) -> None:
    status = remote.atelier("status", "--json")
    report = json.loads(status.stdout)
    assert status.returncode == 0, status.stdout + status.stderr
    assert {service["host"] for service in report["services"]} == {"127.0.0.1"}
    verified = remote.atelier("verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.faults
def test_privacy_and_load_over_ssh(remote: Site) -> None:
    """The connection broke once on a busy machine, and it is not known why."""
    private = remote.atelier("verify", "--privacy", "--json")
    assert private.returncode == 0, private.stdout + private.stderr
    places = [f"{row['kind']} {row['name']}" for row in json.loads(private.stdout)["places"]]
    assert {f"log {remote.name}-{service}-0" for service in (ENGINE, ROUTER)} <= set(places)
    asked = ("--users", "2", "--minutes", "0.05", "--use", "completions", "--yes", "--json")
    loaded = remote.atelier("load", *asked)
    found = json.loads(loaded.stdout)
    # it listens on its host's loopback alone
    assert (found["through_ssh"], found["uses"][0]["errors"]) == (True, {}), loaded.stderr
