"""The keys that a user logs in with, in an order that a server hears out.

A server closes the connection after a few keys that it does not know (six by default), so that
the keys that are configured come first, from the agent where it has them.
"""

from __future__ import annotations

import base64
import binascii
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from getpass import getpass
from pathlib import Path

import paramiko
from paramiko.agent import AgentKey, AgentSSH
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey, NoneAuth

from deploy.hosts.ssh_config import Endpoint

MAGIC = b"openssh-key-v1\0"
_unlocked: dict[str, paramiko.PKey | None] = {}
_one_question = threading.Lock()


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


class Keys(AuthStrategy):
    """Offers one key after the other."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._endpoint = endpoint
        self.offered: list[str] = []

    def get_sources(self) -> Iterator[AuthSource]:
        """Configured keys of the agent, those in files, other keys of the agent, none at all."""
        in_agent = {key.asbytes(): key for key in Agent(self._endpoint.agent).get_keys()}
        files = [path for path in self._endpoint.keys if Path(path).is_file()]
        ready = {path: in_agent.pop(public_part(path), None) or _load(path) for path in files}
        others = [] if self._endpoint.only_these_keys else in_agent.values()
        for path, key in ready.items():
            yield from self._offer(key, path)
        for other in others:
            yield from self._offer(other, _name(other))
        for path in (path for path, key in ready.items() if key is None):
            yield from self._offer(_unlock(path), path)
        yield NoneAuth(self._endpoint.user)

    def _offer(self, key: paramiko.PKey | None, name: str) -> Iterator[AuthSource]:
        if key is None:
            return
        certificates = [*self._endpoint.certificates, f"{name}-cert.pub"]
        existing = [path for path in certificates if Path(path).is_file()]
        if existing and not isinstance(key, AgentKey):
            key.load_certificate(existing[0])
        self.offered.append(name)
        yield InMemoryPrivateKey(self._endpoint.user, key)


def public_part(path: str) -> bytes:
    """The public part of a key: of a file beside it, or as it stands open in the private file.

    Empty if it is found in neither.
    """
    beside = Path(f"{path}.pub")
    try:
        text = (beside if beside.is_file() else Path(path)).read_bytes()
        if b"-----BEGIN OPENSSH PRIVATE KEY-----" in text:
            lines = [line for line in text.splitlines() if not line.startswith(b"-----")]
            return _in_private_file(base64.b64decode(b"".join(lines)))
        return base64.b64decode(text.split()[1], validate=True)
    except (OSError, binascii.Error, IndexError, struct.error):
        return b""


def _in_private_file(data: bytes) -> bytes:
    """The field after the magic word, three texts (cipher, its parameters) and the number 1."""
    if not data.startswith(MAGIC):
        return b""
    data = data.removeprefix(MAGIC)
    for _ in range(3):
        _, data = _field(data)
    return _field(data[4:])[0]


def _field(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", data)
    return data[4 : 4 + length], data[4 + length :]


def _load(path: str) -> paramiko.PKey | None:
    """A key that needs no passphrase; None for one that does, and for what is no private key."""
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.SSHException, ValueError, TypeError, OSError):
        return None


def _unlock(path: str) -> paramiko.PKey | None:
    """Ask for a passphrase once a run, if somebody is there who knows it."""
    with _one_question:
        if path not in _unlocked and sys.stdin.isatty() and b"PRIVATE" in Path(path).read_bytes():
            try:
                passphrase = getpass(f"Passphrase of {path}: ").encode()
                _unlocked[path] = paramiko.PKey.from_path(path, passphrase)
            except (paramiko.SSHException, ValueError, TypeError, OSError):
                _unlocked[path] = None
        return _unlocked.get(path)


def _name(key: AgentKey) -> str:
    return f"{key.comment or key.get_name()} of the agent"
