"""Connections over SSH: without Nagle's delay, through jump hosts, host keys checked."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from deploy.spec import HostSpec

TIMEOUT_SECONDS = 30
HOP = re.compile(r"((?P<user>[^@]+)@)?(?P<name>[^:]+)(:(?P<port>\d+))?")


@dataclass(frozen=True)
class Endpoint:
    """An SSH server and how to log in there."""

    address: str
    port: int
    user: str | None
    keys: tuple[str, ...]
    jump: str | None


def find_endpoint(host: HostSpec) -> Endpoint:
    """What is declared, and what the SSH configuration of this user says beside it."""
    return _endpoint(
        host.address or host.name, host.ssh_user, host.ssh_port, host.ssh_key, host.ssh_jump
    )


def _endpoint(
    name: str, user: str | None, port: int | None, key: str | None, jump: str | None = None
) -> Endpoint:
    configured = _config().lookup(name)
    proxy = configured.get("proxyjump")
    keys = [key] if key else configured.get("identityfile", [])
    return Endpoint(
        address=configured.get("hostname", name),
        port=port or int(configured.get("port", 22)),
        user=user or configured.get("user"),
        keys=tuple(str(Path(path).expanduser()) for path in keys),
        jump=jump or (proxy if proxy != "none" else None),
    )


def _config() -> paramiko.SSHConfig:
    path = Path("~/.ssh/config").expanduser()
    return paramiko.SSHConfig.from_path(str(path)) if path.is_file() else paramiko.SSHConfig()


class Jump:
    """Stands for a socket: opened through the jump hosts when a connection is made."""

    def __init__(self, host: HostSpec) -> None:
        self._host = host
        # a client that nobody refers to closes its connection
        self._clients: list[paramiko.SSHClient] = []

    def open(self) -> paramiko.Channel:
        """A way to the host's SSH server through every hop."""
        target = find_endpoint(self._host)
        hops = [_hop(text, self._host.ssh_key) for text in (target.jump or "").split(",")]
        channel: paramiko.Channel | None = None
        for hop, following in zip(hops, [*hops[1:], target], strict=True):
            client = _connect(hop, self._host, channel)
            self._clients.append(client)
            channel = _transport(client).open_channel(
                "direct-tcpip",
                (following.address, following.port),
                ("127.0.0.1", 0),
                timeout=TIMEOUT_SECONDS,
            )
        assert channel is not None  # noqa: S101 - split never gives an empty list
        return channel

    def to_json(self) -> str:
        """What ``pyinfra debug-inventory`` prints."""
        return f"through {self._host.ssh_jump}"


def _hop(text: str, key: str | None) -> Endpoint:
    match = HOP.fullmatch(text)
    if match is None:
        raise paramiko.SSHException(f"not a jump host: {text!r}")
    return _endpoint(match["name"], match["user"], int(match["port"] or 0) or None, key)


def open_transport(sock: Any, **options: Any) -> paramiko.Transport:
    """A transport that sends small packets at once; what clients are given to connect with."""
    if isinstance(sock, Jump):
        sock = sock.open()
    if hasattr(sock, "setsockopt"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return paramiko.Transport(sock, **options)


def open_ssh(host: HostSpec) -> paramiko.SSHClient:
    """Connect with the known hosts, keys and agent of this user.

    Raises:
        SSHException: if the host is not who it was, or does not let this user in.
        OSError: if it cannot be reached.
    """
    target = find_endpoint(host)
    return _connect(target, host, Jump(host) if target.jump else None)


def _connect(endpoint: Endpoint, host: HostSpec, sock: Any) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_system_host_keys()
    if host.ssh_host_keys == "accept-new":
        client.set_missing_host_key_policy(AcceptNew())
    client.connect(
        endpoint.address,
        port=endpoint.port,
        username=endpoint.user,
        # paramiko takes a list, which its type stubs do not know
        key_filename=[path for path in endpoint.keys if Path(path).is_file()] or None,  # type: ignore[arg-type]
        timeout=TIMEOUT_SECONDS,
        sock=sock,
        transport_factory=open_transport,
    )
    return client


def _transport(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection was closed")
    return transport


class AcceptNew(paramiko.MissingHostKeyPolicy):
    """Adds the key of a host that was never seen to ``~/.ssh/known_hosts``."""

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Append a line; paramiko's own policy would write the file anew, without comments."""
        path = Path("~/.ssh/known_hosts").expanduser()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600), "a") as file:
            file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")
        client.get_host_keys().add(hostname, key.get_name(), key)
