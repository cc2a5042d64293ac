"""The container engine of a host, over the local socket or SSH, and ways to its services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import docker
import paramiko
from docker.errors import DockerException

from deploy.errors import ConnectionFailedError, Problem
from deploy.live.tunnel import open_tunnel
from deploy.spec import HostSpec

TIMEOUT_SECONDS = 30


class Connection:
    """One host's container engine."""

    def __init__(
        self, host: HostSpec, client: docker.DockerClient, ssh: paramiko.SSHClient | None
    ) -> None:
        self.host = host
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
        local_port = self._tunnels.enter_context(open_tunnel(self._ssh, address, port))
        return f"http://127.0.0.1:{local_port}"

    def close(self) -> None:
        """Close tunnels and connections."""
        self._tunnels.close()
        self.client.close()
        if self._ssh is not None:
            self._ssh.close()


@contextmanager
def connect(host: HostSpec) -> Iterator[Connection]:
    """Connect to a host's container engine.

    Raises:
        ConnectionFailedError: if the host or its engine does not answer.
    """
    try:
        connection = _open(host)
    except (DockerException, paramiko.SSHException, OSError) as error:
        where = "this machine" if host.is_local else f"{host.name} over SSH"
        raise ConnectionFailedError(
            Problem(
                f"host {host.name}",
                f"no answer from the container engine of {where}: {error}",
                fix="check that Docker runs there and that this user may use it",
            )
        ) from None
    try:
        yield connection
    finally:
        connection.close()


def _open(host: HostSpec) -> Connection:
    if host.is_local:
        client = docker.from_env(timeout=TIMEOUT_SECONDS)
        client.ping()
        return Connection(host, client, None)
    ssh = _open_ssh(host)
    user = f"{host.ssh_user}@" if host.ssh_user else ""
    port = f":{host.ssh_port}" if host.ssh_port else ""
    address = host.address or host.name
    client = docker.DockerClient(base_url=f"ssh://{user}{address}{port}", timeout=TIMEOUT_SECONDS)
    client.ping()
    return Connection(host, client, ssh)


def _open_ssh(host: HostSpec) -> paramiko.SSHClient:
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
