"""What must happen for a host to have Docker as declared: pure, from what the host is like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.errors import HostError, Problem
from deploy.hosts.daemon_settings import (
    DAEMON_JSON,
    differing,
    merge,
    read_daemon_json,
    wanted_settings,
)
from deploy.hosts.docker_packages import Packages, find_packages
from deploy.hosts.explain_docker import PODMAN
from deploy.hosts.state import DockerState
from deploy.spec import HostSpec

INSTALLED_MARK = "/etc/docker/installed-by-atelier"
"""Says that Atelier installed Docker, and so looks after its daemon.json."""
LOADED_JSON = "/run/atelier-docker-daemon.json"
"""What the daemon loaded: differs from daemon.json only if a change of it was interrupted."""
RELOADABLE = {
    *("live-restore", "debug", "labels", "features", "shutdown-timeout"),
    *("max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts"),
    *("default-runtime", "runtimes", "insecure-registries", "registry-mirrors"),
    "authorization-plugins",
}
"""What a running daemon takes over on SIGHUP, as dockerd's reference lists it."""

Load = Literal["", "reload", "restart", "start"]


@dataclass(frozen=True)
class DockerSetup:
    """What is to be done, all of it empty where nothing is."""

    install: Packages | None = None
    """The packages to install."""
    daemon_json: str | None = None
    """The new text of daemon.json."""
    load: Load = ""
    """How the daemon gets to know it."""
    enable: bool = False
    """Whether the unit must be made to start with the host."""
    changes: list[Change] = field(default_factory=list)
    """The same in words."""


def is_managed(host: HostSpec, found: DockerState) -> bool:
    """Whether Docker on this host is Atelier's to install, configure and start."""
    if host.docker is not None:
        return host.docker != "present"
    if host.docker_settings or found.installed_by_atelier:
        return True
    return not found.is_installed and not found.answers


def make_docker_setup(
    host: HostSpec, found: DockerState, *, cgroupfs: bool = False, cdi: bool = False
) -> DockerSetup:
    """What to do about Docker on a host.

    Args:
        host: the host as declared.
        found: what it is like.
        cgroupfs: whether a container would lose its GPU under the cgroup driver systemd.
        cdi: whether a container is given GPUs by name.

    Raises:
        HostError: if it cannot be done.
    """
    if not is_managed(host, found):
        return DockerSetup()
    refusals = list(_refusals(host, found, cdi=cdi))
    if refusals:
        raise HostError(*refusals)
    is_missing = not found.is_installed
    settings = wanted_settings(host, found, cgroupfs=cgroupfs, cdi=cdi)
    old = read_daemon_json(found.daemon_json)
    new = merge(old, settings)
    setup = DockerSetup(
        install=find_packages(found.system, host.docker, cdi=cdi) if is_missing else None,
        daemon_json=json.dumps(new, indent=2) + "\n" if new != old else None,
        load=_load(found, new, settings),
        enable=not found.unit_is_enabled,
    )
    changes = list(_changes(found, old, new, setup))
    if changes and not found.system.is_root:
        raise HostError(_needs_root(changes))
    return replace(setup, changes=changes)


def refusals_of_installing(
    host: HostSpec, found: DockerState, *, cdi: bool = False
) -> list[Problem]:
    """Why Docker cannot be brought about on this host; empty if it can, or runs.

    Args:
        host: the host as declared.
        found: what it is like.
        cdi: whether a container is given GPUs by name.
    """
    try:
        make_docker_setup(host, found, cdi=cdi)
    except HostError as error:
        return list(error.problems)
    return []


def _needs_root(changes: list[Change]) -> Problem:
    needed = ", ".join(f"{change.action} {change.resource}" for change in changes)
    return Problem(
        "docker",
        f"only root can install and configure Docker, and this has to be done: {needed}",
        "sudo=True, or ssh_user='root'",
        "declare sudo=True for the host, or let its administrator do it",
    )


def _refusals(host: HostSpec, found: DockerState, *, cdi: bool) -> Iterator[Problem]:
    if found.answers and found.is_installed and not found.system.has_systemd:
        yield Problem(
            "docker",
            "systemd does not run on this host",
            "docker='present' for a Docker that something else starts",
            "declare docker='present' for the host and configure Docker yourself",
        )
        return
    if not found.system.has_systemd:
        yield Problem(
            "docker",
            "Docker is not running, and systemd, which would run it, does not run either",
            "a host with systemd, or with a Docker that answers",
            "start Docker on the host and declare docker='present' for it",
        )
    if found.is_podman and not found.is_installed:
        yield Problem(
            "docker",
            PODMAN,
            "Docker",
            "remove the package podman-docker from the host",
        )
    if not found.is_installed:
        try:
            find_packages(found.system, host.docker, cdi=cdi)
        except HostError as error:
            yield from error.problems


def _load(found: DockerState, new: dict[str, Any], settings: dict[str, Any]) -> Load:
    """How the daemon gets to know its settings; only Atelier's own are looked at."""
    if not found.answers:
        return "start"
    before = read_daemon_json(
        found.daemon_json if found.loaded_json is None else found.loaded_json, LOADED_JSON
    )
    keys = {key for key in settings if before.get(key) != new.get(key)}
    if not keys:
        return ""
    cdi = [(known.get("features") or {}).get("cdi") for known in (before, new)]
    # a reload logs the feature, and does nothing with it
    return "reload" if keys <= RELOADABLE and cdi[0] == cdi[1] else "restart"


def _changes(
    found: DockerState, old: dict[str, Any], new: dict[str, Any], setup: DockerSetup
) -> Iterator[Change]:
    if setup.install:
        fields = (FieldChange("packages", ABSENT, " ".join(setup.install.names)),)
        yield Change(f"Docker from {setup.install.origin}", "install", fields)
    if setup.daemon_json is not None:
        action = "create" if found.daemon_json is None else "update"
        yield Change(f"file {DAEMON_JSON}", action, tuple(differing(old, new)))
    if setup.enable:
        yield Change("unit docker.service", "enable")
    if setup.load:
        yield Change("unit docker.service", setup.load, tuple(_effects(found, new, setup.load)))


def _effects(found: DockerState, new: dict[str, Any], load: Load) -> Iterator[FieldChange]:
    """What a restart means for what runs."""
    if load == "restart" and found.running_containers:
        number = found.running_containers
        effect = "keep running" if new.get("live-restore") else "stop and start again"
        yield FieldChange("containers", f"{number} running", effect)
