"""Docker on a host, over the local socket or SSH, and ways to its services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import docker
import paramiko
import requests
from docker.errors import DockerException, NotFound
from paramiko import SSHException

from deploy.errors import ConnectionFailedError, Problem, ServiceError
from deploy.hosts.connection import explain
from deploy.hosts.ssh import open_ssh
from deploy.hosts.sudo import ask_password
from deploy.live.tunnel import open_command, open_port
from deploy.plan.addresses import host_and_port
from deploy.spec import HostSpec

TIMEOUT_SECONDS = 30


class Connection:
    """One host's Docker."""

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
        return f"http://{host_and_port(*self.way(address, port))}"

    def way(self, address: str, port: int) -> tuple[str, int]:
        """Address and port at which this machine reaches a TCP port that the host reaches."""
        if self._ssh is None:
            return address, port
        return "127.0.0.1", self._tunnels.enter_context(open_port(self._ssh, address, port))

    def close(self) -> None:
        """Close the ways to services."""
        self._tunnels.close()


@dataclass(frozen=True)
class Login:
    """A connection over SSH, and what is known of sudo there."""

    ssh: paramiko.SSHClient
    sudo_wants_password: bool


@contextmanager
def connect(host: HostSpec, login: Login | None = None) -> Iterator[Connection]:
    """Connect to a host's Docker.

    Args:
        host: the host.
        login: a connection that is open already, and stays open.

    Raises:
        ConnectionFailedError: if the host or its engine does not answer.
    """
    with ExitStack() as stack:
        try:
            connection = _open(host, login, stack)
        except (DockerException, requests.RequestException, SSHException, OSError) as error:
            raise ConnectionFailedError(_problem(host, error)) from None
        stack.callback(connection.close)
        _name_host_in_errors(connection.client, host)
        yield connection


def _problem(host: HostSpec, error: Exception) -> Problem:
    if "Read timed out" in str(error):
        where = "this machine" if host.is_local else host.name
        return Problem(
            f"host {host.name}",
            f"Docker on {where} has not answered within {TIMEOUT_SECONDS} s",
            fix="restart it there: sudo systemctl restart docker; why it hangs may stand in: "
            "sudo journalctl -u docker",
        )
    where = "this machine" if host.is_local else f"{host.name} over SSH"
    return Problem(
        f"host {host.name}",
        f"Docker of {where} does not answer: {error}",
        fix=explain(str(error), host)
        or "check that Docker runs there and that this user may use it",
    )


def _name_host_in_errors(client: docker.DockerClient, host: HostSpec) -> None:
    """Where there are several hosts, say which one it is whose Docker stops answering."""
    ask = client.api.request

    def request(*args: Any, **options: Any) -> requests.Response:
        try:
            return ask(*args, **options)
        except requests.RequestException as error:
            raise ConnectionFailedError(_problem(host, error)) from None

    client.api.request = request  # type: ignore[method-assign]


def _open(host: HostSpec, login: Login | None, stack: ExitStack) -> Connection:
    """Both clients ask for the engine's version, so that one that does not answer is noticed."""
    if host.is_local:
        client = docker.from_env(timeout=TIMEOUT_SECONDS)
        stack.callback(client.close)
        return Connection(client, None)
    login = login or log_in(host, stack)
    # the engine's socket through the docker command of the host, as the docker CLI does it
    command, first_line = "docker system dial-stdio", ""
    if host.sudo:
        command, first_line = with_sudo(host, command, wants_password=login.sudo_wants_password)
    path = stack.enter_context(open_command(login.ssh, command, first_line))
    client = docker.DockerClient(base_url=f"unix://{path}", timeout=TIMEOUT_SECONDS)
    stack.callback(client.close)
    return Connection(client, login.ssh)


def log_in(host: HostSpec, stack: ExitStack) -> Login:
    """Connect to a host over SSH, and find out about sudo there.

    Raises:
        SSHException, OSError: if that is not possible.
    """
    ssh = stack.enter_context(open_ssh(host))
    if not host.sudo:
        return Login(ssh, sudo_wants_password=False)
    _, output, _ = ssh.exec_command("sudo -n true", timeout=TIMEOUT_SECONDS)
    output.read()
    return Login(ssh, sudo_wants_password=output.channel.recv_exit_status() != 0)


def with_sudo(host: HostSpec, command: str, *, wants_password: bool) -> tuple[str, str]:
    """The command under sudo, and the line that it reads first where sudo wants a password."""
    if not wants_password:
        return f"sudo -n {command}", ""
    return f"sudo -k -S -p '' {command}", f"{ask_password(host.name)}\n"


def container_address(connection: Connection, container: str, network: str) -> str:
    """IP address of a container on a network of its host.

    Raises:
        ServiceError: if there is no such container.
    """
    try:
        attributes = connection.client.containers.get(container).attrs
    except NotFound:
        raise ServiceError(Problem(container, "there is no such container")) from None
    return str(attributes["NetworkSettings"]["Networks"][network]["IPAddress"])
