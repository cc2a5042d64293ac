"""Connections that a command makes (ProxyCommand), as OpenSSH runs it."""

from __future__ import annotations

import os
import socket
import subprocess

import paramiko

END_SECONDS = 2
ENDED = "the command that connects has ended"
"""Said of a ProxyCommand, and of ``ssh`` through a connection that is open."""


class ProxySocket(socket.socket):
    """Leads to a command's standard input and output; the command ends when it closes."""

    command: str
    process: subprocess.Popen[bytes]

    def why_ended(self) -> str:
        """That the command has ended, and how; empty if it has not."""
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        return f"{ENDED} with exit status {status}: {self.command}"


def run_proxy(command: str) -> ProxySocket:
    """Run a command in the user's shell, as OpenSSH does; what it says of errors is seen here."""
    ours, theirs = socket.socketpair()
    with theirs:
        sock = ProxySocket(fileno=ours.detach())
        sock.command = command
        sock.process = subprocess.Popen(
            [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            start_new_session=True,
        )
    return sock


def passed_by_proxy(command: str) -> socket.socket:
    """The connection that a command makes and hands over (ProxyUseFdpass).

    Raises:
        SSHException: if it makes none.
    """
    with run_proxy(command) as sock:
        _, passed, _, _ = socket.recv_fds(sock, 1, 1)
        if not passed:
            raise paramiko.SSHException(sock.why_ended() or ENDED)
    return socket.socket(fileno=passed[0])
