"""Fresh Debian hosts in containers: systemd, an SSH server, a user with sudo, and nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.images import make_build_plan
from deploy.images.builder import build_base, image_lock

USER = "alice"
DOCKER_PACKAGES = "docker.io iptables ca-certificates"
DOCKERFILE = """
FROM {base}
RUN apt-get update -q \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \\
      systemd systemd-sysv dbus openssh-server sudo iproute2 procps {packages} \\
 && rm -f /usr/sbin/policy-rc.d
RUN systemctl mask systemd-udevd.service systemd-udevd-kernel.socket systemd-logind.service \\
      getty.target console-getty.service \\
 && useradd --create-home --shell /bin/bash {user} \\
 && echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user} \\
 && mkdir -m 700 /home/{user}/.ssh && chown {user}: /home/{user}/.ssh
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
"""
# systemd in a container: with every capability where the machine has them all; else without the
# one that a container of this machine cannot have, on the machine's own cgroups
PRIVILEGED = ["--privileged", "--cgroupns=private"]
UNPRIVILEGED = [
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--cgroupns=host"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"),
    *("-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
]


def docker(*arguments: str, stdin: str = "", check: bool = True) -> str:
    finished = subprocess.run(
        ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=600
    )
    assert not check or finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout.strip()


@cache
def bridge() -> str:
    """Where hosts in containers reach this machine."""
    (network,) = json.loads(docker("network", "inspect", "bridge"))
    config = network["IPAM"]["Config"][0]
    return str(config.get("Gateway") or next(ip_network(config["Subnet"]).hosts()))


@dataclass(frozen=True)
class Host:
    """One host, and the key that its user logs in with."""

    name: str
    address: str
    key: Path

    def run(self, command: str, stdin: str = "", *, check: bool = True) -> str:
        """What a command prints that root runs there, past SSH and past Atelier."""
        return docker(*("exec", "-i", self.name, "sh", "-c", command), stdin=stdin, check=check)

    def known_host(self) -> str:
        """The line of known_hosts, read where an administrator reads it: on the host."""
        kind, key, *_ = self.run("cat /etc/ssh/ssh_host_ed25519_key.pub").split()
        return f"{self.address} {kind} {key}\n"


@contextmanager
def run_host(name: str, directory: Path, *, with_docker: bool = False) -> Iterator[Host]:
    """A host that lives as long as the context."""
    try:
        yield start_host(name, directory, with_docker=with_docker)
    finally:
        remove_host(name)


def start_host(name: str, directory: Path, *, with_docker: bool = False) -> Host:
    """A host until it is removed; its Docker keeps its files in a volume.

    Args:
        name: name of its container and its volume.
        directory: where the key of its user is put.
        with_docker: whether Docker is installed, as Debian does; for tests of what comes after it.
    """
    image = build_host_image(with_docker=with_docker)
    remove_host(name)
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    _start(name, image)
    address = docker(
        *("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", name)
    )
    host = Host(name, address, key)
    place = f"/home/{USER}/.ssh/authorized_keys"
    host.run(f"cat >{place} && chown {USER}: {place}", Path(f"{key}.pub").read_text())
    return host


def build_host_image(*, with_docker: bool) -> str:
    """Build the image of such hosts unless it is there; returns its tag."""
    base = make_build_plan("litellm", load_catalog()).base
    build_base(base, report=lambda _line: None)
    packages = DOCKER_PACKAGES if with_docker else ""
    dockerfile = DOCKERFILE.format(base=base.tag, user=USER, packages=packages)
    image = f"atelier-test/host:{hashlib.sha256(dockerfile.encode()).hexdigest()[:8]}"
    with image_lock(image):
        if not docker("image", "ls", "-q", image):
            command = ("image", "build", "--quiet", "--network=host", "--tag", image, "-")
            docker(*command, stdin=dockerfile)
    return image


def _start(name: str, image: str) -> None:
    tmpfs = ["--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
    common = [*tmpfs, "-v", f"{name}:/var/lib/docker", "--name", name, image]
    for form in (PRIVILEGED, UNPRIVILEGED):
        docker("rm", "--force", name, check=False)
        docker("run", "--detach", *form, *common, check=False)
        if _boots(name):
            return
    raise AssertionError(docker("logs", name, check=False))


def _boots(name: str) -> bool:
    """Whether systemd comes up, with a unit or two that a container cannot have."""
    for _ in range(60):
        if docker("exec", name, "systemctl", "is-system-running", check=False) in {
            "running",
            "degraded",
        }:
            return docker("exec", name, "systemctl", "is-active", "ssh", check=False) == "active"
        if docker("inspect", "--format", "{{.State.Running}}", name, check=False) != "true":
            return False
        time.sleep(0.5)
    return False


def remove_host(name: str) -> None:
    """Remove a host and everything on it, if it is there."""
    docker("rm", "--force", name, check=False)
    docker("volume", "rm", "--force", name, check=False)
