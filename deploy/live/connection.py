"""The container engine of a host, over the local socket or SSH, and ways to its services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import docker
import paramiko
import requests
from docker.errors import DockerException
from paramiko import SSHException

from deploy.errors import ConnectionFailedError, Problem
from deploy.live.tunnel import open_command, open_port
from deploy.spec import HostSpec

TIMEOUT_SECONDS = 30


class Connection:
    """One host's container engine."""

    def __init__(self, client: docker.DockerClient, ssh: paramiko.SSHClient | None) -> None:
        self.client = client
        self._ssh = ssh
        self._tunnels = ExitStack()

    def reach(self, address: str, port: int) -> str:
        """Base URL under which this machine reaches a TCP port that the host reaches.

        Args:
            address: address as the host sees it, e.g. ``127.0.0.1`` or a container's.
            port: TCP port.
        """
        if self._ssh is None:
            return f"http://{address}:{port}"
        return (
            f"http://127.0.0.1:{self._tunnels.enter_context(open_port(self._ssh, address, port))}"
        )

    def close(self) -> None:
        """Close the ways to services."""
        self._tunnels.close()


@contextmanager
def connect(host: HostSpec) -> Iterator[Connection]:
    """Connect to a host's container engine.

    Raises:
        ConnectionFailedError: if the host or its engine does not answer.
    """
    with ExitStack() as stack:
        try:
            connection = _open(host, stack)
        except (DockerException, requests.RequestException, SSHException, OSError) as error:
            where = "this machine" if host.is_local else f"{host.name} over SSH"
            raise ConnectionFailedError(
                Problem(
                    f"host {host.name}",
                    f"no answer from the container engine of {where}: {error}",
                    fix="check that Docker runs there and that this user may use it",
                )
            ) from None
        stack.callback(connection.close)
        yield connection


def _open(host: HostSpec, stack: ExitStack) -> Connection:
    ssh = None if host.is_local else stack.enter_context(_open_ssh(host))
    if ssh is None:
        client = docker.from_env(timeout=TIMEOUT_SECONDS)
    else:
        # the engine's socket through the docker command of the host, as the docker CLI does it
        command = "docker system dial-stdio"
        path = stack.enter_context(
            open_command(ssh, f"sudo -n {command}" if host.sudo else command)
        )
        client = docker.DockerClient(base_url=f"unix://{path}", timeout=TIMEOUT_SECONDS)
    stack.callback(client.close)
    client.ping()
    return Connection(client, ssh)


def _open_ssh(host: HostSpec) -> paramiko.SSHClient:
    """Connect with the known hosts, keys and agent of this user."""
    ssh = paramiko.SSHClient()
    ssh.load_system_host_keys()
    ssh.connect(
        host.address or host.name,
        port=host.ssh_port or 22,
        username=host.ssh_user,
        key_filename=host.ssh_key,
        timeout=TIMEOUT_SECONDS,
    )
    return ssh
