"""Agents that keep keys: they may refuse to sign, and ask which server a key is used for.

https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.agent
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass

import paramiko
from paramiko.agent import AgentSSH
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message

EXTENSION = b"\x1b"
"""SSH_AGENTC_EXTENSION"""
BIND = "session-bind@openssh.com"


@dataclass(frozen=True)
class Session:
    """Which server a connection leads to, as the server has proved it."""

    host_key: bytes
    identifier: bytes
    signature: bytes


class Agent(AgentSSH):
    """The agent behind a socket; without keys if it does not answer."""

    def __init__(self, path: str | None) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path or "")
            self._connect(connection)  # type: ignore[attr-defined]
        except (OSError, paramiko.SSHException):
            connection.close()

    def bind(self, session: Session) -> None:
        """Say which server its keys are used for: some may be used for few (``ssh-add -h``).

        An agent that does not understand this refuses it, and nothing else.
        """
        said = Message()
        said.add_byte(EXTENSION)
        said.add_string(BIND)
        said.add_string(session.host_key)
        said.add_string(session.identifier)
        said.add_string(session.signature)
        said.add_boolean(False)  # the agent is not forwarded there
        with suppress(OSError, paramiko.SSHException):
            self._send_message(said)  # type: ignore[attr-defined]


class NotSignedError(paramiko.AuthenticationException):
    """A key that was not used: its agent, its card or somebody refused, or the server its kind."""


class LoginHandler(AuthHandler):
    """Where a key does not sign, the next one can be offered: paramiko ends the connection."""

    def _parse_service_accept(self, m: Message) -> None:
        try:
            super()._parse_service_accept(m)  # type: ignore[misc]
        except (OSError, ValueError, paramiko.SSHException) as error:
            # what paramiko does where Kerberos gives no ticket
            self._handle_local_gss_failure(NotSignedError(str(error)))  # type: ignore[attr-defined]
