"""The memory of cards that are not there: directories that all containers of a host share.

A card is a directory. An engine that runs has a file in it with its share of the memory, and holds
a lock on that file: the kernel releases the lock however the process ends, as a driver releases
memory. Only the standard library is used: this file is copied into an image.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

TOTAL_GIB = 44.4
"""What vLLM finds on an L40S."""
STARTING = "starting"
"""Locked by the engine that measures the free memory of a card."""
ROUNDING = 1e-6


class NoMemoryError(Exception):
    """An engine does not start; the text is vLLM's."""


@contextmanager
def hold(cards: list[Path], share: float) -> Iterator[None]:
    """Hold a share of the memory of each card, as long as the context.

    Args:
        cards: their directories.
        share: part of the memory of each, at most 1.

    Raises:
        NoMemoryError: if too little is free, or another engine starts on the same card.
    """
    with ExitStack() as stack:
        for number, card in enumerate(cards):
            card.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_claim(card, number, share))
        yield


@contextmanager
def starting(cards: list[Path]) -> Iterator[None]:
    """What an engine finds free must not change until it has started.

    Raises:
        NoMemoryError: if another engine starts on one of the cards.
    """
    with ExitStack() as stack:
        for card in cards:
            card.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((card / STARTING).open("a"))
            if not _lock(file):
                raise NoMemoryError(
                    "AssertionError: Error in memory profiling. This happens when other processes "
                    "allocate or release GPU memory while vLLM is profiling: another engine is "
                    "starting on the same GPU."
                )
        yield


def shares(card: Path) -> dict[str, float]:
    """What is held of a card, by the names of the holders; forgets those that have ended."""
    found = {}
    for path in sorted(card.glob("*.share")):
        with path.open("r+") as file:
            if _lock(file):
                path.unlink()
            else:
                found[path.stem] = float(file.read())
    return found


@contextmanager
def _claim(card: Path, number: int, share: float) -> Iterator[None]:
    free = 1 - sum(shares(card).values())
    if share > free + ROUNDING:
        raise NoMemoryError(
            f"ValueError: Free memory on device cuda:{number} "
            f"({free * TOTAL_GIB:.2f}/{TOTAL_GIB:.2f} GiB) on startup is less than desired GPU "
            f"memory utilization ({share:g}, {share * TOTAL_GIB:.2f} GiB). Decrease GPU memory "
            "utilization or reduce GPU memory used by other processes."
        )
    path = card / f"{socket.gethostname()}-{os.getpid()}.share"
    with path.open("w") as file:
        _lock(file)
        file.write(str(share))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
