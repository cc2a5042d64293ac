"""The hosts of a replica: they meet at a port of the first one, and stay connected.

As with torch's TCPStore and vLLM 0.32, each waits for those that are not there yet, and fails if
the first one goes meanwhile; later none notices that another one is gone. All must be told the
same. Only the standard library is used: this file is copied into an image.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

RETRY_SECONDS = 0.3
ALL_THERE = b"!"


class MeetingError(Exception):
    """Ranks with different settings have met, or the first one went away before all were there."""


@dataclass(frozen=True)
class Place:
    """One of the hosts of a replica."""

    nodes: int
    """How many there are."""
    rank: int
    """Which this is, from 0."""
    master: tuple[str, int]
    """Where the first one listens."""


def meet(place: Place, settings: str) -> list[socket.socket]:
    """Wait until all are there; returns the connections, which must be kept.

    Args:
        place: of this host.
        settings: what all must agree on, in a line.

    Raises:
        MeetingError: on the first host if they do not, on another one if that goes.
    """
    return _wait_for_others(place, settings) if place.rank == 0 else [_join(place, settings)]


def _wait_for_others(place: Place, settings: str) -> list[socket.socket]:
    others: dict[str, socket.socket] = {}
    listening = socket.create_server(place.master)
    while len(others) < place.nodes - 1:
        connection, _ = listening.accept()
        said = connection.makefile().readline().rstrip("\n")
        if not said:
            connection.close()
            continue
        rank, _, theirs = said.partition(" ")
        if theirs != settings:
            raise MeetingError(f"rank {rank} has {theirs!r}, and rank 0 {settings!r}")
        others[rank] = connection
    for connection in others.values():
        connection.sendall(ALL_THERE)
    return [listening, *others.values()]


def _join(place: Place, settings: str) -> socket.socket:
    while True:
        try:
            connection = socket.create_connection(place.master)
        except OSError:
            time.sleep(RETRY_SECONDS)
            continue
        connection.sendall(f"{place.rank} {settings}\n".encode())
        if connection.recv(len(ALL_THERE)) != ALL_THERE:
            raise MeetingError("the first host went away")
        return connection
