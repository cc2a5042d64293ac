"""Docker on a host: announced, then done in an order that an interruption does not harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api import OperationError

from deploy.facts.docker import Docker
from deploy.hosts.state import DockerState, System
from deploy.operations import docker
from deploy.spec import HostSpec
from tests.operations.harness import Outcome, run

BARE = DockerState(
    System(id="rocky", like=("rhel", "centos"), name="Rocky 9", has_systemd=True, is_root=True)
)


def deploy(found: DockerState, **declared: Any) -> Outcome:
    return run(docker.running, {Docker: found}, spec=HostSpec(name="h1", **declared))


def steps(outcome: Outcome) -> list[str]:
    """What stands behind the script itself."""
    return [command.rpartition(" atelier ")[2] for command in outcome.shell]


def test_a_bare_host(announced: Callable[[], list[Any]]) -> None:
    outcome = deploy(BARE)
    assert steps(outcome) == [
        "configure -",
        "install dnf https://download.docker.com/linux/centos '' "
        "docker-ce docker-ce-cli containerd.io",
        "start",
    ]
    assert json.loads(outcome.stdin[0])["live-restore"] is True
    assert [row["action"] for row in announced()] == ["install", "create", "enable", "start"]


def test_a_docker_that_is_somebody_elses(announced: Callable[[], list[Any]]) -> None:
    outcome = deploy(replace(BARE, is_installed=True, answers=True, daemon_json="not JSON"))
    assert (outcome.commands, announced()) == ([], [])
    assert len(outcome.host.noops) == 1


def test_a_change_that_was_not_loaded(announced: Callable[[], list[Any]]) -> None:
    first = deploy(BARE).stdin[0]
    found = replace(
        BARE,
        is_installed=True,
        answers=True,
        unit_is_enabled=True,
        installed_by_atelier=True,
        daemon_json=first,
        loaded_json="{}",
    )
    outcome = deploy(found)
    assert steps(outcome) == ["configure restart"]
    # nothing to read: the file stays
    assert outcome.stdin == [""]


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(OperationError) as refused:
        deploy(BARE, docker="distribution")
    assert str(refused.value).startswith("h1 cannot be deployed to\ndocker: Rocky 9 has no Docker")
