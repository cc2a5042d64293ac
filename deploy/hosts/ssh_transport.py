"""A transport that notices a silent server, and has room for any number of commands at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import paramiko
from paramiko.kex_curve25519 import KexCurve25519

from deploy.hosts.ssh_agent import LoginHandler, Session

CURVE = "curve25519-sha256"
"""paramiko knows it by the name alone that it had before it was a standard."""
GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Ciphers that authenticate what they encrypt: paramiko computes the digests that others need in
Python, which is a third of what a copy takes of a processor."""
SILENCE_SECONDS = 90
UNKNOWN_REASON = "Unable to open channel."
"""What paramiko says of a refusal whose reason it has given to another one."""

NOT_ACTIVE = "SSH session not active"
"""What it says where the connection has ended."""


class Transport(paramiko.Transport):
    """Opens further connections where the server allows few sessions on each.

    ``MaxSessions`` counts the sessions of one connection; hardening guides set it to 2.

    Of several channels that are refused at the same time, paramiko gives the reason of one to
    another. So after the first refusal channels are opened one after the other.
    """

    _kex_info = paramiko.Transport._kex_info | {CURVE: KexCurve25519}  # type: ignore[attr-defined]
    _preferred_kex = (CURVE, *paramiko.Transport._preferred_kex)  # type: ignore[attr-defined]
    _preferred_ciphers = tuple(dict.fromkeys([*GCM, *paramiko.Transport._preferred_ciphers]))  # type: ignore[attr-defined]

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, **options)
        self.another: Callable[[], paramiko.SSHClient] | None = None
        """Connects once more to the same server."""
        self.session: Session | None = None
        """Which server it leads to."""
        self._others: list[paramiko.SSHClient] = []
        self._one_at_a_time = threading.Lock()
        self._turn = threading.Condition()
        self._is_careful = False
        self._careless = 0
        """How many channels are being opened at the same time."""

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        """Log in with a key.

        Raises:
            AuthenticationException: if it does not let this user in.
        """
        if not (self.active and self.initial_kex_done):
            raise paramiko.SSHException("No existing session")
        answered = event or threading.Event()
        handler = self.auth_handler = LoginHandler(self)
        handler.auth_publickey(username, key, answered)
        return [] if event else handler.wait_for_response(answered)

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        """Keep the first proof: later ones are of the same session."""
        super()._verify_key(host_key, sig)  # type: ignore[misc]
        self.session = self.session or Session(host_key, self.session_id or b"", sig)

    def open_channel(self, *args: Any, **options: Any) -> paramiko.Channel:
        """A channel; what is raised is why this one was refused, and not another one.

        Raises:
            SSHException: if there is none; where the connection has ended, with the reason.
        """
        try:
            return self._open_in_turn(*args, **options)
        except (paramiko.SSHException, EOFError) as error:
            if self.is_active():
                raise
            raise paramiko.SSHException(f"no channel: {reason_of_end(self, error)}") from error

    def _open_in_turn(self, *args: Any, **options: Any) -> paramiko.Channel:
        with self._turn:
            at_once = not self._is_careful
            self._careless += at_once
        if at_once:
            try:
                return super().open_channel(*args, **options)
            except paramiko.SSHException as error:
                if not (self.is_active() and _is_refusal(error)):
                    raise
                self._is_careful = True
            finally:
                with self._turn:
                    self._careless -= 1
                    self._turn.notify_all()
        with self._turn:
            self._turn.wait_for(lambda: not self._careless)
            return super().open_channel(*args, **options)

    def open_session(
        self,
        window_size: int | None = None,
        max_packet_size: int | None = None,
        timeout: float | None = None,
    ) -> paramiko.Channel:
        """A channel for a command, on this connection or on another one.

        Raises:
            SSHException: if there is none.
        """
        try:
            return super().open_session(window_size, max_packet_size, timeout)
        except paramiko.SSHException as error:
            if self.another is None or not (self.is_active() and _is_refusal(error)):
                raise
        with self._one_at_a_time:
            return self._open_elsewhere(self.another, timeout)

    def close(self) -> None:
        """Close it, and the further ones."""
        super().close()
        while self._others:
            self._others.pop().close()

    def _open_elsewhere(
        self, another: Callable[[], paramiko.SSHClient], timeout: float | None
    ) -> paramiko.Channel:
        for client in self._others:
            transport = client.get_transport()
            try:
                if transport:
                    return transport.open_session(timeout=timeout)
            except paramiko.SSHException:
                continue
        client = another()
        self._others.append(client)
        transport = client.get_transport()
        try:
            if transport is None:
                raise paramiko.SSHException("the connection was closed")
            return transport.open_session(timeout=timeout)
        except paramiko.ChannelException as error:
            raise paramiko.SSHException(
                f"the server opens no session: see MaxSessions in its sshd_config ({error})"
            ) from None


def reason_of_end(transport: paramiko.Transport, error: Exception | None = None) -> str:
    """Why a connection has ended.

    Paramiko keeps the reason for the first who asks, and says "not active" to the others.

    Args:
        transport: of the connection.
        error: what was said to whoever asked.
    """
    kept = transport.saved_exception
    # of a channel that was refused before, which says nothing of the end
    is_no_reason = kept is None or isinstance(kept, paramiko.ChannelException)
    told = str((error or "") if is_no_reason else kept)
    return "the connection was closed" if told in {"", NOT_ACTIVE} else told


def _is_refusal(error: paramiko.SSHException) -> bool:
    return isinstance(error, paramiko.ChannelException) or str(error) == UNKNOWN_REASON


def leads_to_loopback(sock: Any) -> bool:
    """Whether a socket is a connection to this machine's own addresses; commands have none."""
    if not isinstance(sock, socket.socket) or sock.family == socket.AF_UNIX:
        return False
    return ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback


def prepare_socket(sock: socket.socket) -> None:
    """Send small packets at once, and break when the other side confirms nothing for long.

    Linux alone would wait a quarter of an hour.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)
