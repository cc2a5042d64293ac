"""Connections over SSH, as OpenSSH would make them: without Nagle's delay, host keys checked."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko
from paramiko.channel import ChannelFile, ChannelStderrFile, ChannelStdinFile
from paramiko.hostkeys import InvalidHostKey

from deploy.hosts.ssh_config import Declared, Endpoint, read_endpoint
from deploy.hosts.ssh_keys import Keys
from deploy.hosts.ssh_shell import Errors, Output, frame
from deploy.spec import HostSpec

TIMEOUT_SECONDS = 30
HOP = re.compile(r"(ssh://)?((?P<user>.+)@)?(\[(?P<ip>[^]]+)\]|(?P<name>[^:]+))(:(?P<port>\d+))?")
PREFIX = "@ssh/"
"""What pyinfra lets one write before the name of a host."""
# what paramiko logs as an error it raises too, for those who can say what to do about it
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def find_endpoint(host: HostSpec) -> Endpoint:
    """What is declared, and what the SSH configuration of this user says beside it.

    Raises:
        SSHException: if OpenSSH does not accept its configuration.
    """
    return read_endpoint(host.address or host.name.removeprefix(PREFIX), _declared(host))


def _declared(host: HostSpec) -> Declared:
    key = str(Path(host.ssh_key).expanduser()) if host.ssh_key else None
    return Declared(host.ssh_user, host.ssh_port, key, host.ssh_jump)


class Client(paramiko.SSHClient):
    """A connection, and those to the hosts that it goes through."""

    through: Client | None = None

    def exec_command(
        self,
        command: str,
        bufsize: int = -1,
        timeout: float | None = None,
        get_pty: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[ChannelStdinFile, ChannelFile, ChannelStderrFile]:
        """Run a command in ``sh``; see ssh_shell."""
        stdin, stdout, _ = super().exec_command(
            frame(command), bufsize, timeout, get_pty, environment
        )
        channel = stdout.channel
        return stdin, Output(channel, "r", bufsize), Errors(channel, "r", bufsize)

    def close(self) -> None:
        """Close all of them, the one to the host first."""
        super().close()
        if self.through is not None:
            self.through.close()


def open_ssh(host: HostSpec) -> Client:
    """Connect with the configuration, known hosts, keys and agent of this user.

    Raises:
        SSHException: if the host is not who it was, or does not let this user in.
        OSError: if it cannot be reached.
    """
    return _open(find_endpoint(host), host)


def _open(endpoint: Endpoint, host: HostSpec) -> Client:
    through, sock = _way(endpoint, host)
    client = Client()
    client.through = through
    try:
        _log_in(client, endpoint, sock, accept_new=host.ssh_host_keys == "accept-new")
    except BaseException:
        client.close()
        sock.close()
        raise
    return client


def _way(endpoint: Endpoint, host: HostSpec) -> tuple[Client | None, Any]:
    """What carries the connection: TCP, a command, or a channel of the last jump host."""
    if endpoint.jump:
        through = _open(_last_hop(endpoint.jump, host), host)
        place, nowhere = (endpoint.address, endpoint.port), ("127.0.0.1", 0)
        transport = transport_of(through)
        return through, transport.open_channel(
            "direct-tcpip", place, nowhere, timeout=TIMEOUT_SECONDS
        )
    if endpoint.proxy_command:
        return None, _run_proxy(endpoint.proxy_command)
    return None, _dial(endpoint.address, endpoint.port)


def _dial(address: str, port: int) -> socket.socket:
    try:
        sock = socket.create_connection((address, port), TIMEOUT_SECONDS)
    except socket.gaierror:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"no connection to port {port} of {address}: {reason}") from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _last_hop(jump: str, host: HostSpec) -> Endpoint:
    """The hop before the host; it is reached through those before it, if there are any."""
    before, _, last = jump.rpartition(",")
    match = HOP.fullmatch(last)
    if match is None:
        raise paramiko.SSHException(f"not a jump host: {last!r}")
    key = _declared(host).key
    port = int(match["port"]) if match["port"] else None
    return read_endpoint(
        match["ip"] or match["name"], Declared(match["user"], port, key, before or None)
    )


def _run_proxy(command: str) -> socket.socket:
    """A socket to a command's standard input and output; the command ends when it closes."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            start_new_session=True,
        )
    return ours


def _log_in(client: Client, endpoint: Endpoint, sock: Any, *, accept_new: bool) -> None:
    for path in endpoint.known_hosts:
        # a line that paramiko does not understand: a host that it stands for is refused
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError, InvalidHostKey):
            client.load_system_host_keys(path)
    if accept_new or endpoint.accept_new:
        client.set_missing_host_key_policy(AcceptNew(endpoint.known_hosts[0]))
    keys = Keys(endpoint)
    try:
        client.connect(
            # the socket is open: these two only say which host key is the right one
            endpoint.known_as or endpoint.address,
            port=22 if endpoint.known_as else endpoint.port,
            username=endpoint.user,
            timeout=TIMEOUT_SECONDS,
            sock=sock,
            auth_strategy=keys,
        )
    except paramiko.AuthenticationException:
        offered = ", ".join(keys.offered) or "no key, as none was found"
        raise paramiko.AuthenticationException(
            f"Authentication failed for {endpoint.user}; offered: {offered}"
        ) from None
    transport_of(client).set_keepalive(endpoint.keepalive_seconds)


def transport_of(client: paramiko.SSHClient) -> paramiko.Transport:
    """The transport of a connection.

    Raises:
        SSHException: if it was closed.
    """
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection was closed")
    return transport


class AcceptNew(paramiko.MissingHostKeyPolicy):
    """Adds the key of a host that was never seen to the user's file of known hosts."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Append a line; paramiko's own policy would write the file anew, without comments."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY
        with os.fdopen(os.open(self._path, flags, 0o600), "a") as file:
            file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")
        client.get_host_keys().add(hostname, key.get_name(), key)
