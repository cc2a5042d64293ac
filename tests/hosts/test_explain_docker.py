"""What Docker says when a command fails, as it was seen or stands in Docker's source."""

from __future__ import annotations

import pytest

from deploy.hosts.explain_docker import explain_docker


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (
            "driver failed programming external connectivity on endpoint lab-litellm-0 (0123): "
            " (iptables failed: iptables --wait -t nat -A DOCKER -p tcp -d 127.0.0.1 --dport 4000 "
            "-j DNAT --to-destination 172.18.0.3:4000 ! -i br-1: iptables: No chain/target/match "
            "by that name.",
            "systemctl restart docker",
        ),
        (
            "Failed to Setup IP tables: Unable to enable SKIP DNAT rule:  (iptables failed: "
            "iptables --wait -t nat -I DOCKER -i br-1 -j RETURN: iptables v1.8.9 (nf_tables): "
            "Chain 'DOCKER' does not exist",
            "load the firewall before Docker starts",
        ),
        (
            "Error response from daemon: error while removing network: network lab id eb7be0ce6363 "
            "has active endpoints",
            "docker network inspect names it",
        ),
        (
            "Error response from daemon: remove lab-postgres: volume is in use - [023cb38a406d]",
            "docker ps --all --filter volume=NAME",
        ),
        (
            'error getting credentials - err: exec: "docker-credential-desktop": executable file '
            "not found in $PATH, out: ``",
            "take credsStore and credHelpers out of ~/.docker/config.json",
        ),
        (
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": proxyconnect tcp: '
            "dial tcp 10.0.0.1:3128: connect: connection refused",
            "systemctl show docker.service --property Environment",
        ),
        (
            'Get "https://registry-1.docker.io/v2/": Proxy Authentication Required',
            "proxies in /etc/docker/daemon.json",
        ),
        (
            "failed to create endpoint lab-litellm-0 on network lab: failed to add the host "
            "(vethdcb1b33) <=> sandbox (veth4bcd5c9) pair interfaces: operation not supported",
            "Restart the host",
        ),
        (
            "iptables v1.8.9 (legacy): can't initialize iptables table `nat': modprobe: FATAL: "
            "Module ip_tables not found in directory /lib/modules/6.1.0-18-amd64",
            "Restart the host",
        ),
        (
            "container lab-vllm-0 cannot be stopped: Error response from daemon: cannot stop "
            "container: 0123: permission denied",
            "aa-remove-unknown",
        ),
        (
            "Error response from daemon: cannot stop container: lab-vllm-0: tried to kill "
            "container, but did not receive an exit event",
            "hangs in the kernel",
        ),
        ("docker: not found", "secure_path in its sudoers"),
        ("bash: line 1: docker: command not found", "docker='distribution'"),
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            "docker network prune",
        ),
        (
            "all predefined address pools have been fully subnetted",
            "default-address-pools",
        ),
        ("Bind for 127.0.0.1:4000 failed: port is already allocated", "ss -ltnp"),
        (
            "failed to bind host port for 0.0.0.0:4000: listen tcp4 0.0.0.0:4000: bind: address "
            "already in use",
            "ss -ltnp",
        ),
        (
            "listen tcp4 10.1.1.1:4000: bind: cannot assign requested address",
            "an address of the host",
        ),
        (
            'invalid mount config for type "bind": bind source path does not exist: /srv/atelier',
            "Docker does not see this directory",
        ),
        (
            "Mounts denied: The path /var/lib/atelier is not shared from the host and is not known",
            "virtual machine",
        ),
        (
            "error while creating mount source path '/srv': mkdir /srv: read-only file system",
            "mounted read-only",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", "df -h"),
        ("dd: error writing '/home/me/x.part': Disk quota exceeded", "quota -s"),
        (
            'invalid mount config for type "bind": stat /home/me/atelier/x: permission denied',
            "root_squash",
        ),
        ("flock: 9: No locks available", "rpc.statd"),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///x",
            "sudo=True",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker "
            "daemon running?",
            "systemctl start docker",
        ),
        (
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7",
            "systemctl restart nvidia-cdi-refresh",
        ),
        ('could not select device driver "cdi" with capabilities: []', '"features": {"cdi"'),
        (
            'could not select device driver "nvidia" with capabilities: [[gpu]]',
            "nvidia-container-toolkit",
        ),
        ("exec /usr/bin/python3: exec format error", "another architecture"),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            "another architecture",
        ),
        ("client version 1.22 is too old. Minimum supported API version is 1.24", "one version"),
    ],
)
def test_it_is_known_what_to_do(said: str, fix: str) -> None:
    assert fix in explain_docker(f"Error response from daemon: {said}")


@pytest.mark.parametrize("said", ["", "No such container: x", "network lab not found"])
def test_nothing_is_made_up(said: str) -> None:
    assert explain_docker(said) == ""
