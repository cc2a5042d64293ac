"""Two operators of one deployment on this machine; looked at in files and containers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.names import CHECKOUT
from tests.e2e.site import Settings, Site, free_port

NAME = f"e2e-lock-{CHECKOUT}"
ROUTER = f"{NAME}-litellm-0"


class Operators(Site):
    """The first operator's site, and what lies on the host."""

    @property
    def on_host(self) -> Path:
        return Path(self.settings["hosts"][0]["directory"]) / "deployments" / NAME

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.on_host / "lock.json").read_text()))

    def declare(self, round_: str) -> None:
        """Settings that replace engine and router."""
        env = {"env": {"ROUND": round_}}
        self.write(
            self.settings
            | {"engine": self.settings["engine"] | env, "router": self.settings["router"] | env}
        )

    def begin(self, round_: str) -> subprocess.Popen[str]:
        """A run that has the lock and is at work."""
        self.declare(round_)
        process = self.start()
        for _ in range(2400):
            held = self.record()
            if held["state"] == "held" and held["run"]["process"] == process.pid:
                return process
            assert process.poll() is None
            time.sleep(0.05)
        raise AssertionError(held)

    def lock(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.atelier(f"lock {verb}", *arguments)

    def lock_status(self) -> dict[str, Any]:
        [row] = json.loads(self.lock("status", "--json").stdout)["locks"]
        return dict(row)

    def key(self) -> str:
        """What the router wants of its clients."""
        environment = self.container("litellm").attrs["Config"]["Env"]
        return str(
            dict(row.split("=", 1) for row in environment if "=" in row)["LITELLM_MASTER_KEY"]
        )

    def is_converged(self) -> None:
        again = self.deploy()
        assert (again.status, again.succeeded) == (0, 0), again.output


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operators]:
    settings: Settings = {
        "name": NAME,
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "models": [{"name": "tiny-coder"}],
        "engine": {"start_timeout_seconds": 120},
        "router": {"port": free_port(), "start_timeout_seconds": 240},
        "web_ui": None,
        "image_source": "build",
    }
    directory = tmp_path_factory.mktemp("site")
    for _ in range(2):
        site = Operators(NAME, directory, settings)
        site.remove()
    site = Operators(NAME, directory, settings)
    assert site.deploy().status == 0
    yield site
    site.remove()


def test_a_run_that_changes_nothing_takes_no_lock(site: Operators) -> None:
    before = (site.on_host / "lock.json").stat().st_mtime_ns
    site.is_converged()
    assert site.dry_run().status == 0
    assert (site.on_host / "lock.json").stat().st_mtime_ns == before
    assert site.lock_status()["lock"] == "free"


def test_the_second_of_two_runs_ends_at_once(site: Operators) -> None:
    site.environment["ATELIER_LOCK_REASON"] = "a new round"
    first = site.begin("two at once")
    site.environment.pop("ATELIER_LOCK_REASON")
    seen = site.lock_status()
    site.declare("the second one's")
    second = site.run("-y")
    down = site.atelier("down", "--yes")
    assert first.poll() is None, "the first run was not at work any more: it proves nothing"
    assert first.wait(timeout=600) == 0
    assert second.status == 1
    for part in (
        f"another run is changing deployment '{NAME}' there",
        f"(process {first.pid})",
        "reason: a new round",
        "fix: wait until it has ended, see: atelier lock status INVENTORY",
    ):
        assert part in second.output
        assert part in down.stdout + down.stderr
    assert (seen["lock"], seen["run"]["process"]) == ("held", first.pid)
    environment = site.container("litellm").attrs["Config"]["Env"]
    assert "ROUND=two at once" in environment
    assert site.record()["state"] == "done"
    assert site.deploy().status == 0


def test_a_run_that_was_killed_is_recognised(site: Operators) -> None:
    first = site.begin("killed")
    first.send_signal(signal.SIGKILL)
    first.wait()
    for _ in range(600):
        if site.record()["state"] == "cut":
            break
        time.sleep(0.05)
    assert site.lock_status()["lock"] == "cut"
    # its engine was being replaced; its router is still to come
    result = site.deploy()
    assert result.status == 0, result.output
    assert ("recreate", f"container {ROUTER}") in result.steps
    assert "the last run here was killed or lost its connection" in result.output
    assert f"(process {first.pid})" in result.output
    site.is_converged()


def test_a_run_that_is_interrupted_gives_it_back(site: Operators) -> None:
    first = site.begin("interrupted")
    first.send_signal(signal.SIGINT)
    first.wait(timeout=600)
    assert site.record()["state"] == "done"
    assert site.deploy().status == 0
    site.is_converged()


def test_a_run_that_fails_gives_it_back(site: Operators) -> None:
    site.write(site.settings | {"engine": {"extra_args": ["--no-such-flag"]}})
    failed = site.deploy()
    assert failed.status == 1
    assert site.record()["state"] == "done"
    site.write(site.settings | {"engine": {"start_timeout_seconds": 120}})
    assert site.deploy().status == 0


def test_a_run_that_hangs_loses_it_and_changes_nothing_more(site: Operators) -> None:
    before = site.container("litellm").id
    first = site.begin("hangs")
    # its engine is being replaced; its router is still to come
    first.send_signal(signal.SIGSTOP)
    assert site.lock_status()["lock"] == "held"
    released = site.lock("release", "--yes")
    assert released.returncode == 0, released.stdout + released.stderr
    assert f"(process {first.pid})" in released.stdout
    assert (site.lock_status()["lock"], site.record()["state"]) == ("free", "released")
    first.send_signal(signal.SIGCONT)
    assert first.stderr is not None
    said = first.stderr.read()
    assert first.wait(timeout=600) == 1
    assert f"this run lost its lock on deployment '{NAME}'" in said
    assert site.container("litellm").id == before
    assert site.deploy().status == 0
    site.is_converged()


# secrets


@pytest.fixture
def clone(site: Operators, tmp_path: Path) -> Operators:
    """A second operator's clone of the repository, which has no secrets in it."""
    shutil.copytree(site.directory, tmp_path / "clone", ignore=shutil.ignore_patterns(".secrets"))
    return Operators(NAME, tmp_path / "clone", site.settings)


def test_a_clone_without_secrets_replaces_nothing(site: Operators, clone: Operators) -> None:
    before = site.snapshot()
    for flag in ("--dry", "-y"):
        result = clone.run(flag)
        assert (result.status, result.changes) == (1, []), result.output
        assert "runs on @local with secrets that this machine does not have" in result.output
    assert clone.atelier("check").returncode == 1
    assert not (clone.directory / ".secrets").exists()
    # what the message says
    shutil.copytree(site.directory / ".secrets", clone.directory / ".secrets")
    clone.is_converged()
    assert site.snapshot() == before


def test_an_older_deployment_is_recognised_by_its_containers(
    site: Operators, clone: Operators
) -> None:
    (site.on_host / "secrets.fingerprint").unlink()
    result = clone.run("-y")
    assert (result.status, result.changes) == (1, []), result.output
    assert "with secrets that this machine does not have" in result.output
    made = site.deploy()
    assert made.steps == [("create", f"file {site.on_host}/secrets.fingerprint")]
    assert clone.run("-y").status == 1


def test_whoever_insists_gets_new_secrets(site: Operators, clone: Operators) -> None:
    key = site.key()
    planned = clone.run("--dry", "--data", "new_secrets=yes")
    result = clone.run("-y", "--data", "new_secrets=yes")
    assert result.status == 0, result.output
    assert result.steps == planned.steps
    kept = yaml.safe_load((clone.directory / f".secrets/{NAME}.yaml").read_text())
    assert site.key() == kept["router_master_key"] != key
    clone.is_converged()
    # now the first operator is the one who is behind
    refused = site.run("-y")
    assert (refused.status, refused.changes) == (1, []), refused.output
    assert f".secrets/{NAME}.yaml holds other secrets than those" in refused.output
    site.environment["ATELIER_NEW_SECRETS"] = "1"
    assert site.deploy().status == 0
    site.environment.pop("ATELIER_NEW_SECRETS")
    assert site.key() == key
    site.is_converged()


def test_nothing_is_left_of_a_deployment_that_is_removed(site: Operators) -> None:
    down = site.atelier("down", "--yes", "--volumes")
    assert down.returncode == 0, down.stderr
    assert not site.on_host.exists()
    again = site.atelier("down", "--yes")
    assert again.returncode == 0, again.stderr
    assert not site.on_host.exists()
    assert os.listdir(site.on_host.parent) == []  # noqa: PTH208
