"""Connections over SSH, as OpenSSH would make them: without Nagle's delay, host keys checked."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import paramiko
from paramiko.channel import ChannelFile, ChannelStderrFile, ChannelStdinFile

from deploy.hosts.control_master import command_through, is_open, ways_of_ssh
from deploy.hosts.jump_hosts import JumpHost, enter
from deploy.hosts.known_hosts import RSA, AnyKey, KnownHosts
from deploy.hosts.ssh_config import Declared, Endpoint, ask_ahead, read_endpoint
from deploy.hosts.ssh_keys import NOT_SIGNED, Keys
from deploy.hosts.ssh_proxy import ProxySocket, passed_by_proxy, run_proxy
from deploy.hosts.ssh_shell import Errors, Output, frame
from deploy.hosts.ssh_transport import Transport, leads_to_loopback, prepare_socket
from deploy.spec import HostSpec

HOP = re.compile(r"(ssh://)?((?P<user>.+)@)?(\[(?P<ip>[^]]+)\]|(?P<name>[^:]+))(:(?P<port>\d+))?")
CONNECTION_ERRORS = (paramiko.SSHException, EOFError, OSError)
"""What paramiko raises where a connection cannot be made, or breaks."""
NO_SERVER = "no banner of an SSH server has come"
DROPBEAR = "dropbear"
TOO_LONG = "commands of more than 9000 characters"
"""https://github.com/mkj/dropbear/blob/master/src/sysoptions.h, MAX_CMD_LEN; looks are longer."""
PREFIX = "@ssh/"
"""What pyinfra lets one write before the name of a host."""
# what paramiko logs as an error it raises too, for those who can say what to do about it
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def find_endpoint(host: HostSpec) -> Endpoint:
    """What is declared, and what the SSH configuration of this user says next to it.

    Raises:
        SSHException: if OpenSSH does not accept its configuration.
    """
    return read_endpoint(address_of(host), declared_of(host))


def find_endpoints_ahead(hosts: Iterable[HostSpec]) -> None:
    """Have OpenSSH's answers for many hosts at once, before they are asked for one by one."""
    servers = []
    for host in hosts:
        # what is wrong with one is told when it is connected to
        with suppress(paramiko.SSHException):
            servers.append((address_of(host), declared_of(host)))
    ask_ahead(servers)


def address_of(host: HostSpec) -> str:
    """What ``ssh`` is asked for."""
    return host.address or host.name.removeprefix(PREFIX)


def declared_of(host: HostSpec) -> Declared:
    """What the inventory says besides.

    Raises:
        SSHException: if the home directory that the path of its key names is nobody's.
    """
    try:
        key = str(Path(host.ssh_key).expanduser()) if host.ssh_key else None
    except RuntimeError:
        raise paramiko.SSHException(f"ssh_key {host.ssh_key}: there is no such user here") from None
    return Declared(host.ssh_user, host.ssh_port, key, host.ssh_jump)


class Client(paramiko.SSHClient):
    """A connection, and the jump host that it goes through."""

    through: JumpHost | None = None

    def exec_command(
        self,
        command: str,
        bufsize: int = -1,
        timeout: float | None = None,
        get_pty: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[ChannelStdinFile, ChannelFile, ChannelStderrFile]:
        """Run a command in ``sh``; see ssh_shell.

        Raises:
            SSHException: if the connection was closed, or has no room for it.
        """
        transport_of(self)
        try:
            stdin, stdout, _ = super().exec_command(
                frame(command), bufsize, timeout, get_pty, environment
            )
        except EOFError:
            raise paramiko.SSHException("the server closed the connection at a command") from None
        channel = stdout.channel
        return stdin, Output(channel, "r", bufsize), Errors(channel, "r", bufsize)

    def close(self) -> None:
        """Close it, and leave the jump host."""
        super().close()
        through, self.through = self.through, None
        if through is not None:
            through.leave()


def open_ssh(host: HostSpec) -> Client:
    """Connect with the configuration, known hosts, keys and agent of this user.

    Raises:
        SSHException: if the host is not who it was, or does not let this user in.
        OSError: if it cannot be reached.
    """
    client = _open_with_room(find_endpoint(host), host)
    version = transport_of(client).remote_version
    if DROPBEAR in version:
        client.close()
        raise paramiko.SSHException(f"{version} closes the connection at {TOO_LONG}")
    return client


def _open(endpoint: Endpoint, host: HostSpec, behind: tuple[Endpoint, ...] = ()) -> Client:
    """Connect; ``behind`` are those that it leads to."""
    through, sock = _way(endpoint, host, behind)
    client = Client()
    client.through = through
    try:
        _log_in(client, endpoint, sock, accept_new=host.ssh_host_keys == "accept-new")
    except BaseException as error:
        client.close()
        sock.close()
        if isinstance(sock, ProxySocket) and _is_no_server(error):
            raise paramiko.SSHException(sock.why_ended() or NO_SERVER) from None
        raise
    return client


def _is_no_server(error: BaseException) -> bool:
    return isinstance(error, EOFError) or "banner" in str(error)


def _open_with_room(endpoint: Endpoint, host: HostSpec) -> Client:
    """Connect; where there are more commands at a time than the server allows, connect again."""
    client = _open(endpoint, host)
    transport = client.get_transport()
    if isinstance(transport, Transport):
        transport.another = partial(_open, endpoint, host)
    return client


def _way(
    endpoint: Endpoint, host: HostSpec, behind: tuple[Endpoint, ...]
) -> tuple[JumpHost | None, Any]:
    """What carries the connection: TCP, a command, or a channel of the last jump host.

    A connection that ``ssh`` has open to that one is used as ``ssh`` would.
    """
    if endpoint.jump:
        hop, behind = _last_hop(endpoint.jump, host), (*behind, endpoint)
        if hop in behind:
            raise paramiko.SSHException(f"ProxyJump {endpoint.jump}: leads to {hop.address} again")
        if is_open(hop):
            return None, run_proxy(command_through(hop, endpoint.address, endpoint.port))
        through = enter((hop, host.ssh_host_keys), partial(_open, hop, host, behind))
        place, nowhere = (endpoint.address, endpoint.port), ("127.0.0.1", 0)
        try:
            return through, transport_of(through.client).open_channel(
                "direct-tcpip", place, nowhere, timeout=endpoint.connect_timeout_seconds
            )
        except BaseException:
            through.leave()
            raise
    if endpoint.proxy_command:
        connect = passed_by_proxy if endpoint.proxy_passes_socket else run_proxy
        return None, connect(endpoint.proxy_command)
    return None, _dial(endpoint)


def _dial(endpoint: Endpoint) -> socket.socket:
    source = (endpoint.bind_address, 0) if endpoint.bind_address else None
    reason = ""
    for *_, found in socket.getaddrinfo(
        endpoint.address, endpoint.port, endpoint.family, socket.SOCK_STREAM
    ):
        place = (str(found[0]), endpoint.port)
        try:
            sock = socket.create_connection(place, endpoint.connect_timeout_seconds, source)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            prepare_socket(sock)
            return sock
    raise OSError(f"no connection to port {endpoint.port} of {endpoint.address}: {reason}")


def _last_hop(jump: str, host: HostSpec) -> Endpoint:
    """The hop before the host; it is reached through those before it, if there are any."""
    before, _, last = jump.rpartition(",")
    match = HOP.fullmatch(last)
    if match is None:
        raise paramiko.SSHException(f"not a jump host: {last!r}")
    key = declared_of(host).key
    port = int(match["port"]) if match["port"] else None
    return read_endpoint(
        match["ip"] or match["name"], Declared(match["user"], port, key, before or None)
    )


def _log_in(client: Client, endpoint: Endpoint, sock: Any, *, accept_new: bool) -> None:
    known = KnownHosts(
        endpoint.known_hosts,
        endpoint.known_hosts_command,
        accept_new=accept_new or endpoint.accept_new,
        revoked=endpoint.revoked_host_keys,
    )
    trusted = endpoint.trusts_loopback and not endpoint.known_as and leads_to_loopback(sock)
    client.set_missing_host_key_policy(AnyKey() if trusted else known)
    port = 22 if endpoint.known_as else endpoint.port
    name = endpoint.known_as or endpoint.address
    keys = Keys(endpoint)
    algorithms = known.algorithms(name if port == 22 else f"[{name}]:{port}")
    if endpoint.accepts_old_rsa:
        algorithms.append(RSA)
    try:
        client.connect(
            # the socket is open: these two only say which host key is the right one
            name,
            port=port,
            username=endpoint.user,
            timeout=endpoint.connect_timeout_seconds,
            banner_timeout=endpoint.connect_timeout_seconds,
            auth_timeout=endpoint.connect_timeout_seconds,
            sock=sock,
            auth_strategy=keys,
            transport_factory=partial(_transport, algorithms=algorithms),
        )
    except paramiko.AuthenticationException as error:
        offered = ", ".join(keys.offered) or "no key, as none was found"
        said = keys.said
        wanted = f"; wanted besides: {', '.join(sorted(said.wanted))}" if said.wanted else ""
        unsigned = (
            f"; {NOT_SIGNED}: {', '.join(dict.fromkeys(said.unsigned))}" if said.unsigned else ""
        )
        ways = ways_of_ssh(endpoint, _allowed(error))
        others = f"; ssh itself may use {' or '.join(ways)}" if ways else ""
        raise paramiko.AuthenticationException(
            f"Authentication failed for {endpoint.user}; offered: {offered}"
            f"{unsigned}{wanted}{others}"
        ) from None
    transport_of(client).set_keepalive(endpoint.keepalive_seconds)


def _allowed(error: paramiko.AuthenticationException) -> set[str]:
    """Kinds of logins that the server allows."""
    tried = (each.result for each in getattr(error, "result", ()))
    return {kind for result in tried for kind in getattr(result, "allowed_types", ())}


def _transport(sock: Any, *, algorithms: list[str], **options: Any) -> paramiko.Transport:
    """One that asks for the kinds of host keys that can be checked, first of all."""
    transport = Transport(sock, **options)
    transport.get_security_options().key_types = algorithms
    return transport


def transport_of(client: paramiko.SSHClient) -> paramiko.Transport:
    """The transport of a connection.

    Raises:
        SSHException: if it was closed.
    """
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection was closed")
    return transport
