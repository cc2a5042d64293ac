"""What an operator does about what Docker says when a command of it fails."""

from __future__ import annotations

import re

RESTART = "restart Docker on the host: sudo systemctl restart docker"
POOLS = (
    'give Docker ranges that nothing else uses, e.g. "default-address-pools": '
    '[{"base": "10.200.0.0/16", "size": 24}] in /etc/docker/daemon.json, or in docker_settings of '
    "the host where Atelier looks after Docker"
)
NO_RANGE = f"remove networks that are not used: docker network prune; or {POOLS}"
FREE_SPACE = "see what is full with df -h and df -i, and free some, e.g. docker image prune --all"
NOT_SEEN = (
    "Docker does not see this directory of the host: it runs in a virtual machine or a snap, or "
    "on another machine. Declare a directory that it sees, e.g. directory='/home/me/atelier', or "
    "install Docker from the distribution's packages"
)

PODMAN = "the docker command is Podman's"

FIXES = {
    r"sandbox\b.* pair interfaces|Module \S+ not found in directory /lib/modules": (
        "the kernel that runs has lost its modules: it was upgraded. Restart the host"
    ),
    re.escape(PODMAN): "remove the package podman-docker from the host, and install Docker",
    r"iptables.*No chain/target/match by that name|chain '?DOCKER\S* does not exist"
    r"|iptables: .*(Bad rule|does a matching rule exist)": (
        "the firewall was reloaded and Docker's rules are gone. "
        f"{RESTART}; and load the firewall before Docker starts"
    ),
    r"iptables.*(not found|Permission denied|can't initialize)": (
        "Docker cannot use iptables: install the package iptables, load the kernel's module "
        "ip_tables, and restart Docker"
    ),
    r"non-overlapping IPv4 address pool|predefined address pools have been fully subnetted": (
        f"Docker has no address range left for a network: {NO_RANGE}"
    ),
    r"no available IPv4 addresses on this network|no available addresses": (
        "the network's address range is full: remove containers that are not used, or give it a "
        f"larger range: {POOLS}"
    ),
    r"Pool overlaps with other one": f"another network has this address range: {NO_RANGE}",
    r"has active endpoints": (
        "another container is in this network: docker network inspect names it, and docker network "
        f"disconnect takes it out. If it names none, Docker has miscounted: {RESTART}"
    ),
    r"volume is in use": (
        "another container has this volume: docker ps --all --filter volume=NAME names it; remove "
        "it first"
    ),
    r"port is already allocated|address already in use": (
        "another program has this port. See which one with: sudo ss -ltnp; stop it, or declare "
        "another port"
    ),
    r"cannot assign requested address": (
        "the host does not have this address: declare listen with an address of the host"
    ),
    r"disk quota exceeded": (
        "a quota of this user, group or directory is used up: see quota -s, xfs_quota or zfs get "
        "quota on the host; raise it, or remove files that are not needed"
    ),
    r"no space left on device": FREE_SPACE,
    r"stat \S+ permission denied|creating mount source path.*permission denied": (
        "Docker's daemon may not enter this directory, though this user may: NFS with root_squash, "
        "or a file system of this user's own (FUSE). Declare a directory on a disk of the host"
    ),
    r"flock: .*(No locks available|Function not implemented|not supported)": (
        "this file system has no locks: start the lock service of NFS on the host (rpc.statd), "
        "mount Lustre with the option flock, or declare a place on a disk of the host"
    ),
    r"bind source path does not exist|mounts denied|is not shared": NOT_SEEN,
    r"read-only file system": (
        f"the file system is mounted read-only, or {NOT_SEEN[0].lower()}{NOT_SEEN[1:]}"
    ),
    r"error getting credentials|docker-credential-\S+": (
        "Docker's client keeps logins with a program that is not there or does not work: take "
        "credsStore and credHelpers out of ~/.docker/config.json (root's, with sudo=True)"
    ),
    r"proxyconnect|Proxy Authentication Required": (
        "Docker's daemon goes through a proxy that does not let it: see systemctl show "
        "docker.service --property Environment, and proxies in /etc/docker/daemon.json"
    ),
    r"cannot (stop|kill) container.*permission denied|could not kill.*permission denied": (
        "AppArmor keeps Docker from ending the container, as after Docker was installed anew or is "
        "there as a snap, too: sudo aa-remove-unknown, then restart Docker; remove the second one"
    ),
    r"cannot (stop|kill) container.*did not receive an exit|tried to kill container": (
        "a process in it hangs in the kernel, often in a driver: see dmesg on the host, and "
        "restart it"
    ),
    r"permission denied while trying to connect to the docker|dial unix \S+ connect: permission": (
        "let this user use Docker: declare sudo=True for the host, or put the user into the group "
        "docker"
    ),
    r"cannot connect to the docker daemon|is the docker daemon running": (
        "start Docker on the host: sudo systemctl start docker"
    ),
    r"docker: (command )?not found": (
        "install and start Docker, or declare docker='distribution' for the host. If it is there, "
        "add its directory to the user's PATH; with sudo, to secure_path in its sudoers"
    ),
    r"client version \S+ is too (old|new)|Minimum supported API version": (
        "Docker's client and daemon on the host have versions that do not work together: install "
        "both in one version"
    ),
    r"unresolvable CDI devices": (
        "no CDI specification on the host names this card: see nvidia-ctk cdi list, and write it "
        "again: sudo systemctl restart nvidia-cdi-refresh"
    ),
    r"could not select device driver \"cdi\"": (
        'Docker has CDI switched off: write "features": {"cdi": true} into /etc/docker/daemon.json '
        "and restart Docker"
    ),
    r"could not select device driver|unknown or invalid runtime name: nvidia"
    r"|nvidia-container-cli": (
        "the NVIDIA container toolkit does not work on the host: install nvidia-container-toolkit, "
        "run nvidia-ctk runtime configure --runtime=docker, and restart Docker"
    ),
    r"error gathering device information.*(/dev/\S+)": (
        "the device is not there: its driver is not installed, or not loaded"
    ),
    r"exec format error|exec user process caused|does not match the (detected|specified|expected)"
    r"|no matching manifest for": (
        "the image is for another architecture than the host: use one for the host's"
    ),
    r"apparmor.*(profile|failed)|AppArmor enabled on system": (
        "install the package apparmor on the host, and restart Docker"
    ),
    r"x509: certificate has expired or is not yet valid": (
        "the host's clock may be wrong: run a time service, e.g. chrony"
    ),
    r"too many open files": "raise the limit of open files: LimitNOFILE of docker.service",
    r"fork/exec|resource temporarily unavailable|cannot allocate memory": (
        "the host has no memory or no processes left: stop something, or use a larger host"
    ),
}
"""What to do, by what Docker says in either case; the first pattern that is found counts."""


def explain_docker(message: str) -> str:
    """How to fix what Docker says; empty if that is not known.

    Args:
        message: what a command of Docker printed when it failed.
    """
    found = (fix for said, fix in FIXES.items() if re.search(said, message, re.IGNORECASE))
    return next(found, "")
