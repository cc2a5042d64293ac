"""The keys that a user logs in with, in an order that a server hears out.

A server closes the connection after a few keys that it does not know (six by default), so that
the keys that are configured come first, from the agent where it has them.
"""

from __future__ import annotations

import base64
import binascii
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.agent import AgentKey
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey, NoneAuth
from paramiko.pkey import PublicBlob

from deploy.hosts.host_certificate import key_in
from deploy.hosts.ssh_agent import Agent, NotSignedError, Session
from deploy.hosts.ssh_config import Endpoint

MAGIC = b"openssh-key-v1\0"
NO_KEY = (paramiko.SSHException, UnsupportedAlgorithm, ValueError, TypeError, OSError)
"""What is raised for a file that is no key, or one of a kind that cannot be used here."""
NOT_SIGNED = "keys that did not sign"
_unlocked: dict[str, list[paramiko.PKey]] = {}
_one_question = threading.Lock()


@dataclass(frozen=True)
class Said:
    """What was said of the keys that were offered."""

    wanted: set[str] = field(default_factory=set)
    """What the server wants besides a key that it knows."""
    unsigned: list[str] = field(default_factory=list)
    """Keys that were not used, and why."""


class Key(InMemoryPrivateKey):
    """A key that lets nobody in if the server wants more than it."""

    def __init__(self, user: str, key: paramiko.PKey, name: str, said: Said) -> None:
        super().__init__(user, key)
        self._name = name
        self._said = said

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Offer it.

        Raises:
            AuthenticationException: if it is not enough.
        """
        try:
            more: list[str] = super().authenticate(transport)
        except NotSignedError as error:
            self._said.unsigned.append(f"{self._name} ({error})")
            raise
        if more:
            self._said.wanted.update(more)
            raise paramiko.AuthenticationException("the server wants more than this key")
        return more


class Keys(AuthStrategy):
    """Offers one key after the other, each with the certificates that it has before it alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._endpoint = endpoint
        self._session: Session | None = None
        self.offered: list[str] = []
        self.said = Said()

    def authenticate(self, transport: paramiko.Transport) -> Any:
        """Offer them on a connection.

        Raises:
            AuthenticationException: if none lets this user in.
        """
        self._session = getattr(transport, "session", None)
        return super().authenticate(transport)

    def get_sources(self) -> Iterator[AuthSource]:
        """Configured keys, of the agent or a file, other keys of the agent, none at all."""
        agent = Agent(self._endpoint.agent)
        in_agent = list(agent.get_keys())
        if in_agent and self._session:
            agent.bind(self._session)
        locked = []
        for path in filter(_is_there, self._endpoint.keys):
            public = public_part(path)
            keys = [key for key in in_agent if _public(key) == public] or _load(path)
            in_agent = [key for key in in_agent if _public(key) != public]
            for key in keys:
                yield from self._offer(key, path)
            if not keys:
                locked.append(path)
        for key in [] if self._endpoint.only_these_keys else in_agent:
            yield from self._offer(key, _name(key))
        for path in locked:
            for key in _unlock(path):
                yield from self._offer(key, path)
        yield NoneAuth(self._endpoint.user)

    def _offer(self, key: paramiko.PKey, name: str) -> Iterator[AuthSource]:
        self.offered.append(name)
        for certificate in (*self._certificates(key, name), None):
            key.public_blob = certificate
            yield Key(self._endpoint.user, key, name, self.said)

    def _certificates(self, key: paramiko.PKey, name: str) -> Iterator[PublicBlob]:
        """Those in files that are for this key."""
        beside = f"{name.removesuffix('.pub')}-cert.pub"
        for path in dict.fromkeys([*self._endpoint.certificates, beside]):
            try:
                found = PublicBlob.from_file(path)
            except NO_KEY:
                continue
            if key_in(found.key_blob) == _public(key):
                yield found


def _public(key: paramiko.PKey) -> bytes:
    """The public part of a key, or of the key that a certificate of the agent is for."""
    return key_in(key.blob if isinstance(key, AgentKey) else key.asbytes())


def _is_there(path: str) -> bool:
    """Of a key that an agent or a card keeps there may be the public part alone."""
    return Path(path).is_file() or Path(f"{path}.pub").is_file()


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


def _load(path: str) -> list[paramiko.PKey]:
    """A key that needs no passphrase; none where it needs one, or is no private key."""
    try:
        return [paramiko.PKey.from_path(path)]
    except NO_KEY:
        return []


def _unlock(path: str) -> list[paramiko.PKey]:
    """Ask for a passphrase once a run, if somebody is there who knows it."""
    with _one_question:
        if path not in _unlocked and sys.stdin.isatty() and _is_private(path):
            try:
                passphrase = getpass(f"Passphrase of {path}: ").encode()
                _unlocked[path] = [paramiko.PKey.from_path(path, passphrase)]
            except NO_KEY:
                _unlocked[path] = []
        return _unlocked.get(path, [])


def _is_private(path: str) -> bool:
    return Path(path).is_file() and b"PRIVATE" in Path(path).read_bytes()


def _name(key: AgentKey) -> str:
    return f"{key.comment or key.get_name()} of the agent"
