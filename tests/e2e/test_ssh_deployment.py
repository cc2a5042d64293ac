"""A stack on one host over SSH: deployments that are killed, cut off or broken lose nothing.

Asserted on the host itself, past SSH and past Atelier, and through the router.
"""

from __future__ import annotations

import copy
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.hosts import Host
from tests.e2e.names import host_name
from tests.e2e.remote import Containers, containers_of, run_site
from tests.e2e.secret_watch import watch
from tests.e2e.site import MASTER_KEY, START_TIMEOUT_SECONDS, Result, Settings, Site

NAME = host_name("deployment")
ENGINE, ROUTER = "e2e-llama-cpp-tiny-coder-0", "e2e-litellm-0"
RUN_ENGINE, RUN_ROUTER = "Run the engines", "Run the routers"


@dataclass
class Box:
    """The host and what is deployed there."""

    site: Site
    host: Host
    base: Settings
    rounds: Iterator[int] = field(default_factory=count)

    def declare_another(self, **router: Any) -> None:
        """Settings that replace engine and router."""
        settings = copy.deepcopy(self.base)
        number = str(next(self.rounds))
        settings["engine"]["env"] = {"ROUND": number}
        settings["router"] |= {"env": {"ROUND": number}} | router
        self.site.write(settings)

    def containers(self) -> Containers:
        return containers_of(self.host)

    def answers(self) -> bool:
        """Whether the router completes, through the engine."""
        reply = httpx.post(
            f"http://{self.host.address}:4000/v1/completions",
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            json={"model": "tiny-coder", "prompt": "def fib(n):", "max_tokens": 60},
            timeout=START_TIMEOUT_SECONDS,
        )
        return "a, b = b, a + b" in reply.text

    def interrupt(
        self, operation: str, strike: Callable[[subprocess.Popen[str]], None], delay_seconds: float
    ) -> int:
        """Deploy, and strike a while after an operation began; returns the exit status."""
        with self.site.start() as process:
            assert process.stderr is not None
            for line in process.stderr:
                if f"Starting operation: {operation}" in line:
                    time.sleep(delay_seconds)
                    strike(process)
            return process.wait()

    def is_mended_by_the_next_run(self) -> Result:
        """Everything is as declared and answers, and one more run changes nothing."""
        result = self.site.deploy()
        assert result.status == 0, result.output
        found = self.containers()
        assert {name: state for name, (_, state, _) in found.items()} == {
            ENGINE: "running",
            ROUTER: "running",
        }
        number = self.site.settings["router"]["env"]["ROUND"]
        for name in (ENGINE, ROUTER):
            said = self.host.run(f"docker inspect -f '{{{{.Config.Env}}}}' {name}")
            assert f"ROUND={number}" in said
        assert self.answers()
        again = self.site.deploy()
        assert (again.status, again.succeeded) == (0, 0), again.output
        assert self.containers() == found
        return result


def kill_controller(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, pulled: Settings) -> Iterator[Box]:
    with run_site(tmp_path_factory.mktemp("box"), {"box": NAME}, pulled) as (site, hosts):
        yield Box(site, hosts["box"], site.settings)


@pytest.mark.parametrize(
    ("operation", "delay_seconds"), [("Provide images", 1.0), (RUN_ENGINE, 0.7)]
)
def test_a_first_deployment_whose_controller_is_killed(
    box: Box, operation: str, delay_seconds: float
) -> None:
    """The first one is killed twice; then it is mended."""
    box.declare_another()
    assert box.interrupt(operation, kill_controller, delay_seconds) == -signal.SIGKILL
    if operation == RUN_ENGINE:
        box.is_mended_by_the_next_run()


@pytest.mark.parametrize(("operation", "delay_seconds"), [(RUN_ENGINE, 0.5), (RUN_ROUTER, 2.0)])
def test_a_replacement_whose_controller_is_killed(
    box: Box, operation: str, delay_seconds: float
) -> None:
    box.declare_another()
    assert box.interrupt(operation, kill_controller, delay_seconds) == -signal.SIGKILL
    box.is_mended_by_the_next_run()


def test_a_replacement_whose_connection_is_cut(box: Box) -> None:
    def cut(_: subprocess.Popen[str]) -> None:
        box.host.run("pkill -KILL -f '^sshd: alice'", check=False)

    box.declare_another()
    assert box.interrupt(RUN_ROUTER, cut, 1.0) == 1
    box.is_mended_by_the_next_run()


def test_a_replacement_whose_docker_daemon_is_killed(box: Box) -> None:
    """What is not being replaced runs on: live-restore, and systemd starts the daemon again."""
    before = box.containers()
    kill = "kill -KILL $(pidof dockerd)"
    box.declare_another()
    settings = copy.deepcopy(box.site.settings)
    settings["engine"]["env"] = {"ROUND": str(int(settings["router"]["env"]["ROUND"]) - 1)}
    box.site.write(settings)
    box.interrupt(RUN_ROUTER, lambda _: (box.host.run(kill), None)[1], 1.0)
    box.host.run("systemctl is-active docker || systemctl start docker")
    assert box.containers()[ENGINE] == before[ENGINE]
    box.site.write(settings | {"engine": settings["engine"] | {"env": settings["router"]["env"]}})
    box.is_mended_by_the_next_run()


def test_a_router_that_does_not_start_leaves_the_one_before(box: Box) -> None:
    before = box.containers()
    good = box.site.settings
    box.declare_another(env={"LITELLM_LOG": "ERROR", "PYTHONHOME": "/x"})
    box.site.write(box.site.settings | {"engine": good["engine"]})
    result = box.site.deploy()
    assert result.status == 1
    assert "the container before it serves again" in result.output
    after = box.containers()
    assert (after[ENGINE], after[ROUTER][0]) == (before[ENGINE], before[ROUTER][0])
    assert box.answers()
    box.site.write(good)
    box.is_mended_by_the_next_run()


def test_no_secret_shows(box: Box) -> None:
    """Neither in what is printed nor on the host while both containers are made anew."""
    box.declare_another()
    box.is_mended_by_the_next_run()
    box.declare_another()
    kept = yaml.safe_load((box.site.directory / ".secrets/e2e.yaml").read_text())
    secrets = dict(kept) | {"router_master_key": MASTER_KEY}
    with watch(box.host, secrets) as seen:
        planned, done = box.site.run("--dry", "-vvv"), box.site.run("-y", "-vvv")
        shown = [box.site.atelier(verb) for verb in ("status", "verify", "check", "doctor")]
    assert [planned.status, done.status] == [0, 0], done.output
    assert seen.found == []
    assert min(seen.rounds, seen.processes, seen.files) > 10
    printed = planned.output + done.output + "".join(run.stdout + run.stderr for run in shown)
    journal = box.host.run("journalctl --no-pager; cat /var/log/*.log 2>/dev/null", check=False)
    inspected = box.host.run("docker inspect -f '{{json .Config.Labels}}' $(docker ps -aq)")
    for name, value in secrets.items():
        for place, text in {"output": printed, "journal": journal, "labels": inspected}.items():
            assert value not in text, f"{name} is in the {place}"
