"""The packages that Docker comes in, by distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.errors import HostError, Problem
from deploy.hosts.cdi import has_older_docker
from deploy.hosts.state import System
from deploy.spec.host import DockerSource

UPSTREAM = "https://download.docker.com/linux"
"""Docker's own repositories: https://docs.docker.com/engine/install/."""
UPSTREAM_PACKAGES = ("docker-ce", "docker-ce-cli", "containerd.io")
SUPPORTED = "Debian, Ubuntu, Fedora, RHEL, CentOS Stream, AlmaLinux, Rocky Linux, or made from one"


@dataclass(frozen=True)
class Packages:
    """What is installed, and from where."""

    manager: Literal["apt", "dnf"]
    names: tuple[str, ...]
    origin: str
    """In words, e.g. ``Debian's packages``."""
    repository: str = ""
    """Base URL of a repository to add, or empty."""
    codename: str = ""
    """apt: the suite of that repository."""


def find_packages(system: System, source: DockerSource | None, *, cdi: bool = False) -> Packages:
    """The packages to install Docker from; the distribution's, unless it has none that will do.

    Args:
        system: the host's.
        source: where Docker is to come from, if that is declared.
        cdi: whether Docker must know CDI.

    Raises:
        HostError: if the distribution is not supported, or has none although they are asked for.
    """
    if system.is_like("debian", "ubuntu"):
        is_old = cdi and has_older_docker(system)
        if is_old and source == "distribution":
            raise HostError(_too_old_for_cdi(system))
        return _upstream_apt(system) if is_old or source == "upstream" else _debian(system)
    if system.id == "fedora" and source != "upstream":
        return Packages("dnf", ("moby-engine", "docker-cli"), "Fedora's packages")
    if system.is_like("rhel", "fedora", "centos"):
        if source == "distribution":
            raise HostError(
                Problem(
                    "docker",
                    f"{system.name or system.id} has no Docker among its packages",
                    "docker='upstream' on this distribution",
                    "declare docker='upstream' for the host, or leave it out",
                )
            )
        return _upstream_dnf(system)
    raise HostError(
        Problem(
            "docker",
            f"Docker cannot be installed on {system.name or 'this system'} by Atelier",
            SUPPORTED,
            "install and start Docker on the host yourself",
        )
    )


def _too_old_for_cdi(system: System) -> Problem:
    return Problem(
        "docker",
        f"the Docker of {system.name or system.id} has no CDI, the way that containers get GPUs",
        "docker='upstream', or gpu_runtime='nvidia'",
        "leave docker out for the host, or declare gpu_runtime='nvidia'",
    )


def _debian(system: System) -> Packages:
    vendor = "Ubuntu" if system.is_like("ubuntu") else "Debian"
    return Packages("apt", ("docker.io", "iptables", "ca-certificates"), f"{vendor}'s packages")


def _upstream_apt(system: System) -> Packages:
    if not system.codename:
        raise HostError(
            Problem(
                "docker",
                f"{system.name} does not say which release it is made from",
                "VERSION_CODENAME in /etc/os-release",
                "declare docker='distribution' for the host",
            )
        )
    vendor = "ubuntu" if system.is_like("ubuntu") else "debian"
    return Packages(
        "apt",
        (*UPSTREAM_PACKAGES, "ca-certificates"),
        "Docker's repository",
        f"{UPSTREAM}/{vendor}",
        system.codename,
    )


def _upstream_dnf(system: System) -> Packages:
    folder = system.id if system.id in {"fedora", "rhel"} else "centos"
    return Packages("dnf", UPSTREAM_PACKAGES, "Docker's repository", f"{UPSTREAM}/{folder}")
