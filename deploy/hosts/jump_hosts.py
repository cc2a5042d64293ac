"""Connections to jump hosts, one to each for all hosts behind it.

An SSH server drops clients while others log in, after ten of them by default (MaxStartups).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import paramiko


@dataclass(eq=False)
class JumpHost:
    """A connection that others go through; the last one that leaves closes it."""

    users: int = 0
    connected: Future[paramiko.SSHClient] = field(default_factory=Future)

    @property
    def client(self) -> paramiko.SSHClient:
        """The connection, as soon as there is one.

        Raises:
            SSHException, OSError: if there is none.
        """
        return self.connected.result()

    @property
    def is_of_use(self) -> bool:
        """Whether it may be gone through: it is being opened, or has not ended."""
        if not self.connected.done():
            return True
        transport = None if self.connected.exception() else self.client.get_transport()
        return transport is not None and transport.is_active()

    def leave(self) -> None:
        """Do not go through it any more."""
        with _lock:
            self.users -= 1
            is_last = not self.users
        if is_last and not self.connected.exception():
            self.client.close()


_lock = threading.Lock()
_jump_hosts: dict[Hashable, JumpHost] = {}


def enter(key: Hashable, connect: Callable[[], paramiko.SSHClient]) -> JumpHost:
    """Go through a jump host; who comes while it is connected to waits, and has the same answer.

    Args:
        key: which one it is, and how it is logged in to.
        connect: connects to it.

    Raises:
        SSHException, OSError: if it cannot be connected to.
    """
    with _lock:
        found = _jump_hosts.get(key)
        is_new = found is None or not (found.users and found.is_of_use)
        way = _jump_hosts[key] = JumpHost() if found is None or is_new else found
        way.users += 1
    if is_new:
        try:
            way.connected.set_result(connect())
        except BaseException as error:
            way.connected.set_exception(error)
            raise
    way.connected.result()
    return way
