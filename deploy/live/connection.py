"""A host over the local socket or SSH: its Docker, its services, and ways to their ports.

Docker's client is imported by those who ask Docker: a run that changes nothing need not.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deploy.errors import ConnectionFailedError, Problem, ServiceError
from deploy.hosts.connection import explain
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.live import shell
from deploy.live.local_command import open_local_command, uses_context
from deploy.live.login import Login, log_in
from deploy.live.tunnel import open_command, open_port
from deploy.plan.addresses import host_and_port
from deploy.spec import HostSpec

if TYPE_CHECKING:
    import docker
    import requests

TIMEOUT_SECONDS = 30
Addresses = Mapping[str, Mapping[str, str]]
"""Of containers: by network, by the container's name."""


class Connection:
    """One host: its Docker, which is asked as soon as it is needed, its services, its ports.

    Args:
        host: the host.
        login: the connection to it; ``None`` where it is this machine.
        open_client: makes the client of Docker.
        addresses: those of its containers that are known.
    """

    def __init__(
        self,
        host: HostSpec,
        login: Login | None,
        open_client: Callable[[], docker.DockerClient],
        addresses: Addresses | None = None,
    ) -> None:
        self.addresses = addresses or {}
        self._host = host
        self._login = login
        self._open_client = open_client
        self._client: docker.DockerClient | None = None
        self._one_at_a_time = threading.Lock()
        self._tunnels = ExitStack()

    @property
    def client(self) -> docker.DockerClient:
        """Docker's client.

        Raises:
            ConnectionFailedError: if the host or its engine does not answer.
        """
        with self._one_at_a_time:
            self._client = self._client or self._open_client()
        return self._client

    def run(self, command: str) -> tuple[int, str]:
        """Exit status of a command for ``sh``, and what it printed, errors included.

        Raises:
            ConnectionFailedError: if the connection breaks.
        """
        with self._broken():
            return shell.run(self._host, self._login, command)

    def stream(self, command: str) -> Iterator[bytes]:
        """What a command for ``sh`` prints, as it comes.

        Raises:
            ConnectionFailedError: if the connection breaks.
        """
        with self._broken():
            yield from shell.stream(self._host, self._login, command)

    @contextmanager
    def _broken(self) -> Iterator[None]:
        try:
            yield
        except (*CONNECTION_ERRORS, subprocess.SubprocessError) as error:
            found = f"the connection broke: {error}"
            raise ConnectionFailedError(Problem(f"host {self._host.name}", found)) from None

    def reach(self, address: str, port: int) -> str:
        """Base URL under which this machine reaches a TCP port that the host reaches.

        Args:
            address: address as the host sees it, e.g. ``127.0.0.1`` or a container's.
            port: TCP port.
        """
        return f"http://{host_and_port(*self.way(address, port))}"

    def way(self, address: str, port: int) -> tuple[str, int]:
        """Address and port at which this machine reaches a TCP port that the host reaches."""
        if self._login is None:
            return address, port
        ssh = self._login.ssh
        return "127.0.0.1", self._tunnels.enter_context(open_port(ssh, address, port))

    def close(self) -> None:
        """Close the ways to services."""
        self._tunnels.close()


@contextmanager
def connect(
    host: HostSpec,
    login: Login | None = None,
    *,
    addresses: Addresses | None = None,
    needs_docker: bool = True,
) -> Iterator[Connection]:
    """Connect to a host and its Docker.

    Args:
        host: the host.
        login: a connection that is open already, and stays open.
        addresses: of its containers, where they are known; then Docker is asked only for more.
        needs_docker: whether anything of the deployment runs in containers there.

    Raises:
        ConnectionFailedError: if the host or its engine does not answer.
    """
    with ExitStack() as stack:
        if login is None and not host.is_local:
            login = _log_in(host, stack)

        def open_client() -> docker.DockerClient:
            with _explained(host):
                return _open(host, login, stack)

        connection = Connection(host, login, open_client, addresses)
        stack.callback(connection.close)
        if needs_docker and addresses is None:
            connection.client  # noqa: B018 - one that does not answer is noticed here
        yield connection


def _log_in(host: HostSpec, stack: ExitStack) -> Login:
    """A connection over SSH; where there is none, no one can say anything of Docker."""
    try:
        return log_in(host, stack)
    except CONNECTION_ERRORS as error:
        found = f"cannot be reached over SSH: {error}"
        fix = explain(str(error), host)
        raise ConnectionFailedError(Problem(f"host {host.name}", found, fix=fix)) from None


@contextmanager
def _explained(host: HostSpec) -> Iterator[None]:
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except (DockerException, RequestException, *CONNECTION_ERRORS) as error:
        raise ConnectionFailedError(_problem(host, str(error))) from None


def _problem(host: HostSpec, said: str) -> Problem:
    if "Read timed out" in said:
        where = "this machine" if host.is_local else host.name
        return Problem(
            f"host {host.name}",
            f"Docker on {where} has not answered within {TIMEOUT_SECONDS} s",
            fix="restart it there: sudo systemctl restart docker; its log may say why it"
            " hangs: sudo journalctl -u docker",
        )
    where = "this machine" if host.is_local else f"{host.name} over SSH"
    return Problem(
        f"host {host.name}",
        f"Docker of {where} does not answer: {said}",
        fix=explain(said, host) or "check that Docker runs there and that this user may use it",
    )


def _name_host_in_errors(client: docker.DockerClient, host: HostSpec) -> None:
    """Where there are several hosts, say which one it is whose Docker stops answering.

    A question on a connection that ends without an answer is asked once more, on another one.
    """
    from requests import RequestException

    ask = client.api.request

    def request(*args: Any, **options: Any) -> requests.Response:
        try:
            return _arrived(ask(*args, **options), host)
        except RequestException as error:
            if args[0] != "GET" or not _lost(error):
                raise ConnectionFailedError(_problem(host, str(error))) from None
        with _explained(host):
            return _arrived(ask(*args, **options), host)

    client.api.request = request  # type: ignore[method-assign]


def _arrived(response: requests.Response, host: HostSpec) -> requests.Response:
    """What Docker says; what the way to it says, which has no other status, is raised."""
    if response.status_code == HTTPStatus.BAD_GATEWAY:
        raise ConnectionFailedError(_problem(host, response.text))
    return response


def _lost(error: Exception) -> bool:
    """Whether a connection ended without an answer, and not for want of time."""
    from urllib3.exceptions import ProtocolError

    return any(isinstance(cause, ProtocolError) for cause in error.args)


def _open(host: HostSpec, login: Login | None, stack: ExitStack) -> docker.DockerClient:
    """Both clients ask for the engine's version, so that one that does not answer is noticed."""
    import docker

    if login is None and not host.sudo and not uses_context():
        client = docker.from_env(timeout=TIMEOUT_SECONDS)
    else:
        # the engine's socket through the docker command of the host, as the docker CLI does it
        command, first_line = shell.as_declared(host, login, "docker system dial-stdio")
        opened = (
            open_command(login.ssh, command, first_line)
            if login
            else open_local_command(command, first_line)
        )
        path = stack.enter_context(opened)
        client = docker.DockerClient(base_url=f"unix://{path}", timeout=TIMEOUT_SECONDS)
    stack.callback(client.close)
    _name_host_in_errors(client, host)
    return client


def container_address(connection: Connection, container: str, network: str) -> str:
    """IP address of a container on a network of its host.

    Raises:
        ServiceError: if there is no such container.
    """
    if known := connection.addresses.get(container, {}).get(network):
        return known
    from docker.errors import NotFound

    try:
        attributes = connection.client.containers.get(container).attrs
    except NotFound:
        raise ServiceError(Problem(container, "there is no such container")) from None
    return str(attributes["NetworkSettings"]["Networks"][network]["IPAddress"])
