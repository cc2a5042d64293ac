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
# all containers of a machine have the id of its own boot
BOOT_ID = """[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/uuid >/etc/boot_id'
ExecStart=/bin/sh -c 'mount --bind /etc/boot_id /proc/sys/kernel/random/boot_id'
[Install]
WantedBy=sysinit.target
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

    def restart_as_a_machine(self) -> None:
        """From now on ``systemctl reboot`` brings it back, with another boot id each time."""
        docker("update", "--restart", "always", self.name)
        self.run(f"cat >/etc/systemd/system/boot-id.service <<'end'\n{BOOT_ID}end")
        self.run("systemctl enable boot-id.service && systemctl start boot-id.service")

    def known_host(self) -> str:
        """The line of known_hosts, read where an administrator reads it: on the host."""
        kind, key, *_ = self.run("cat /etc/ssh/ssh_host_ed25519_key.pub").split()
        return f"{self.address} {kind} {key}\n"


@contextmanager
def run_host(
    name: str,
    directory: Path,
    *,
    with_docker: bool = False,
    image: str = "",
    restarts: bool = False,
) -> Iterator[Host]:
    """A host that lives as long as the context."""
    try:
        yield start_host(name, directory, with_docker=with_docker, image=image, restarts=restarts)
    finally:
        remove_host(name)


def start_host(
    name: str,
    directory: Path,
    *,
    with_docker: bool = False,
    volume: str | None = None,
    image: str | None = None,
    restarts: bool = False,
) -> Host:
    """A host until it is removed; its Docker keeps its files in a volume.

    Args:
        name: name of its container.
        directory: where the key of its user is put.
        with_docker: whether Docker is installed, as Debian does; for tests of what comes after it.
        volume: what Docker keeps its files in; by default a new one, named like the container.
        image: made from that of such hosts; by default that one.
        restarts: whether it will be restarted, and must have the same address then: another
            container may take that of one that does not run.
    """
    image = image or build_host_image(with_docker=with_docker)
    remove_host(name)
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    owner = _hold_address(name, image) if restarts else name
    _start(name, image, volume or name, [f"--network=container:{owner}"] if restarts else [])
    address = docker(
        *("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", owner)
    )
    host = Host(name, address, key)
    place = f"/home/{USER}/.ssh/authorized_keys"
    host.run(f"cat >{place} && chown {USER}: {place}", Path(f"{key}.pub").read_text())
    return host


def build_host_image(*, with_docker: bool) -> str:
    """Build the image of such hosts unless it is there; returns its tag."""
    base = make_build_plan("open-webui", load_catalog()).base
    build_base(base, report=lambda _line: None)
    packages = DOCKER_PACKAGES if with_docker else ""
    dockerfile = DOCKERFILE.format(base=base.tag, user=USER, packages=packages)
    image = f"atelier-test/host:{hashlib.sha256(dockerfile.encode()).hexdigest()[:8]}"
    with image_lock(image):
        if not docker("image", "ls", "-q", image):
            command = ("image", "build", "--quiet", "--network=host", "--tag", image, "-")
            docker(*command, stdin=dockerfile)
    return image


def _hold_address(name: str, image: str) -> str:
    """A container that only has the network of a host, also while that does not run; its name."""
    holder = f"{name}-address"
    docker("run", "--detach", "--init", "--name", holder, image, "sleep", "infinity")
    return holder


def _start(name: str, image: str, volume: str, network: list[str]) -> None:
    tmpfs = ["--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
    common = [*tmpfs, "-v", f"{volume}:/var/lib/docker", "--name", name, image]
    for form in (PRIVILEGED, UNPRIVILEGED):
        docker("rm", "--force", name, check=False)
        docker("run", "--detach", *form, *network, *common, check=False)
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


def remove_container(name: str) -> None:
    """Remove a host, if it is there, but for a volume of its Docker."""
    docker("rm", "--force", name, f"{name}-address", check=False)


def remove_host(name: str) -> None:
    """Remove a host and everything on it, if it is there."""
    remove_container(name)
    docker("volume", "rm", "--force", name, check=False)
