"""What is done about Docker on hosts of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.errors import HostError
from deploy.hosts.daemon_settings import CGROUPFS, merge, wanted_settings
from deploy.hosts.docker_packages import find_packages
from deploy.hosts.docker_setup import DockerSetup, is_managed, make_docker_setup
from deploy.hosts.state import DockerState, System
from deploy.spec import HostSpec

DEBIAN = System(id="debian", name="Debian 12", codename="bookworm", has_systemd=True, is_root=True)
BARE = DockerState(DEBIAN)
SETTINGS = {
    "log-driver": "json-file",
    "log-opts": {"max-size": "50m", "max-file": "3"},
    "live-restore": True,
}
OURS = DockerState(
    DEBIAN,
    is_installed=True,
    answers=True,
    unit_is_enabled=True,
    installed_by_atelier=True,
    daemon_json=json.dumps(SETTINGS),
)
THEIRS = replace(OURS, installed_by_atelier=False, daemon_json='{"debug": true}')


def host(**settings: Any) -> HostSpec:
    return HostSpec(name="h1", **settings)


def setup(
    found: DockerState, *, cgroupfs: bool = False, cdi: bool = False, **declared: Any
) -> DockerSetup:
    return make_docker_setup(host(**declared), found, cgroupfs=cgroupfs, cdi=cdi)


def words(made: DockerSetup) -> list[str]:
    return [f"{change.action} {change.resource}" for change in made.changes]


def test_a_bare_host_is_configured_before_the_daemon_first_starts() -> None:
    made = setup(BARE)
    assert words(made) == [
        "install Docker from Debian's packages",
        "create file /etc/docker/daemon.json",
        "enable unit docker.service",
        "start unit docker.service",
    ]
    assert json.loads(made.daemon_json or "") == SETTINGS
    assert made.load == "start"


@pytest.mark.parametrize(
    ("found", "declared", "managed"),
    [
        (BARE, {}, True),
        (BARE, {"docker": "present"}, False),
        (OURS, {}, True),
        (OURS, {"docker": "present"}, False),
        (THEIRS, {}, False),
        (THEIRS, {"docker": "distribution"}, True),
        (THEIRS, {"docker_settings": {"debug": True}}, True),
        # an engine that is somewhere else: Docker Desktop, DOCKER_HOST
        (DockerState(answers=True), {}, False),
        (DockerState(is_installed=True), {}, False),
    ],
)
def test_whose_docker_it_is(found: DockerState, declared: dict[str, Any], managed: bool) -> None:
    assert is_managed(host(**declared), found) is managed
    if not managed:
        assert setup(found, **declared) == DockerSetup()


def test_nothing_differs() -> None:
    assert setup(OURS) == DockerSetup()


def test_the_operators_settings_stay() -> None:
    own = {
        "debug": True,
        "log-opts": {"tag": "x"},
        "exec-opts": ["a=b", "native.cgroupdriver=systemd"],
    }
    found = replace(THEIRS, daemon_json=json.dumps(own))
    made = setup(found, docker="distribution", cgroupfs=True)
    assert json.loads(made.daemon_json or "") == SETTINGS | {
        "debug": True,
        "log-opts": {"tag": "x", "max-size": "50m", "max-file": "3"},
        "exec-opts": ["a=b", CGROUPFS],
    }
    fields = {field.field: (field.old, field.new) for field in made.changes[0].fields}
    assert fields["live-restore"] == ("(none)", "true")
    assert fields["log-opts.max-file"] == ("(none)", "3")
    assert "debug" not in fields


def test_another_log_driver_keeps_its_options() -> None:
    found = replace(THEIRS, daemon_json='{"log-driver": "journald"}')
    made = setup(found, docker="distribution")
    assert json.loads(made.daemon_json or "") == {"log-driver": "journald", "live-restore": True}
    assert made.load == "reload"


def test_a_swarm_has_no_live_restore() -> None:
    assert "live-restore" not in wanted_settings(host(), replace(BARE, is_swarm=True))


@pytest.mark.parametrize(
    ("changed", "load"),
    [
        ({"live-restore": False}, "reload"),
        ({"log-opts": {"max-size": "1g", "max-file": "3"}}, "restart"),
        ({"live-restore": False, "log-opts": {}}, "restart"),
    ],
)
def test_a_restart_only_where_a_reload_is_not_enough(changed: dict[str, Any], load: str) -> None:
    found = replace(OURS, daemon_json=json.dumps(SETTINGS | changed), running_containers=2)
    made = setup(found)
    assert words(made) == [
        "update file /etc/docker/daemon.json",
        f"{load} unit docker.service",
    ]
    effects = [(field.old, field.new) for field in made.changes[1].fields]
    assert effects == ([("2 running", "keep running")] if load == "restart" else [])


def test_cdi_wants_a_restart() -> None:
    made = setup(OURS, cdi=True)
    assert json.loads(made.daemon_json or "")["features"] == {"cdi": True}
    assert made.load == "restart"
    own = replace(OURS, daemon_json=json.dumps(SETTINGS | {"features": {"x": True}}))
    assert json.loads(setup(own, cdi=True).daemon_json or "")["features"] == {
        "x": True,
        "cdi": True,
    }
    done = replace(OURS, daemon_json=json.dumps(SETTINGS | {"features": {"cdi": True}}))
    assert setup(done, cdi=True) == DockerSetup()
    # no container is given a card by name
    assert setup(OURS, gpus=("1x l40s",), gpu_runtime="cdi") == DockerSetup()


@pytest.mark.parametrize(
    ("version", "settings", "says"),
    [
        ("26.1.5", {}, True),
        ("28.1.1", {}, True),
        ("28.2.0", {}, None),
        ("29.0.1", {}, None),
        ("29.0.1", {"features": {"cdi": False}}, True),
        ("28.5.2+dfsg4", {"features": {"x": True}}, None),
    ],
)
def test_cdi_is_switched_on_where_docker_does_not_by_itself(
    version: str, settings: dict[str, Any], says: bool | None
) -> None:
    found = replace(OURS, version=version, daemon_json=json.dumps(SETTINGS | settings))
    made = setup(found, cdi=True)
    text = found.daemon_json if made.daemon_json is None else made.daemon_json
    assert (json.loads(text or "").get("features") or {}).get("cdi") is says
    assert made.load == ("restart" if says else "")


def test_a_distribution_whose_docker_knows_no_cdi() -> None:
    old = replace(BARE, system=replace(DEBIAN, version="12"))
    made = setup(old, cdi=True)
    assert words(made)[0] == "install Docker from Docker's repository"
    assert words(setup(old))[0] == "install Docker from Debian's packages"
    newer = replace(BARE, system=replace(DEBIAN, version="13"))
    assert words(setup(newer, cdi=True))[0] == "install Docker from Debian's packages"
    with pytest.raises(HostError) as refused:
        setup(old, cdi=True, docker="distribution")
    assert "has no CDI" in str(refused.value)
    assert "gpu_runtime='nvidia'" in str(refused.value)


def test_what_the_daemon_has_not_loaded_yet_is_loaded() -> None:
    found = replace(OURS, loaded_json='{"log-driver": "json-file"}')
    made = setup(found)
    assert made.daemon_json is None
    assert words(made) == ["restart unit docker.service"]
    # settings of the operator are the operator's to load
    found = replace(OURS, loaded_json=json.dumps(SETTINGS | {"debug": True}))
    assert setup(found) == DockerSetup()


def test_who_is_not_root_may_use_what_needs_no_change() -> None:
    nobody = replace(DEBIAN, is_root=False)
    assert setup(replace(OURS, system=nobody)) == DockerSetup()
    with pytest.raises(HostError, match="this has to be done: reload unit"):
        setup(replace(OURS, system=nobody, loaded_json=json.dumps(SETTINGS | {"live-restore": 0})))


def test_a_stopped_daemon_that_is_ours() -> None:
    found = replace(OURS, answers=False, unit_is_enabled=False)
    assert words(setup(found)) == ["enable unit docker.service", "start unit docker.service"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"debug": yes}', "/etc/docker/daemon.json, line 1, column 11: not JSON: Expecting value"),
        ("[]", "/etc/docker/daemon.json: a list"),
    ],
)
def test_a_daemon_json_that_is_none(text: str, message: str) -> None:
    with pytest.raises(HostError) as refused:
        setup(replace(OURS, daemon_json=text))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("found", "declared", "message"),
    [
        (replace(BARE, system=replace(DEBIAN, is_root=False)), {}, "only root can install"),
        (replace(BARE, system=replace(DEBIAN, has_systemd=False)), {}, "systemd, which would run"),
        (replace(BARE, is_podman=True), {}, "the docker command is Podman's"),
        (
            replace(OURS, system=replace(DEBIAN, has_systemd=False)),
            {"docker": "distribution"},
            "systemd does not run on this host",
        ),
        (DockerState(replace(DEBIAN, id="alpine")), {}, "cannot be installed on Debian 12"),
        (
            DockerState(replace(DEBIAN, id="rocky", like=("rhel", "centos", "fedora"))),
            {"docker": "distribution"},
            "has no Docker among its packages",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(
    found: DockerState, declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(HostError) as refused:
        setup(found, **declared)
    assert message in str(refused.value)
    assert "fix: " in str(refused.value)


@pytest.mark.parametrize(
    ("system", "source", "manager", "first", "repository"),
    [
        (DEBIAN, None, "apt", "docker.io", ""),
        (DEBIAN, "upstream", "apt", "docker-ce", "/linux/debian"),
        (
            System("ubuntu", ("debian",), codename="noble"),
            "upstream",
            "apt",
            "docker-ce",
            "/ubuntu",
        ),
        (System("linuxmint", ("ubuntu", "debian"), codename="noble"), None, "apt", "docker.io", ""),
        (System("rocky", ("rhel", "centos", "fedora")), None, "dnf", "docker-ce", "/linux/centos"),
        (System("rhel", ("fedora",)), None, "dnf", "docker-ce", "/linux/rhel"),
        (System("fedora"), None, "dnf", "moby-engine", ""),
        (System("fedora"), "upstream", "dnf", "docker-ce", "/linux/fedora"),
    ],
)
def test_packages(system: System, source: Any, manager: str, first: str, repository: str) -> None:
    found = find_packages(system, source)
    assert (found.manager, found.names[0]) == (manager, first)
    assert found.repository.endswith(repository)
    assert bool(found.repository) is bool(repository)


def test_declared_settings_win() -> None:
    wanted = wanted_settings(
        host(docker_settings={"log-opts": {"max-size": "1g"}, "live-restore": False}), BARE
    )
    assert wanted["log-opts"] == {"max-size": "1g", "max-file": "3"}
    assert wanted["live-restore"] is False


def test_merging_changes_nothing_of_what_is_merged() -> None:
    old = {"a": {"b": 1}}
    assert merge(old, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert old == {"a": {"b": 1}}
