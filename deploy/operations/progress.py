"""Saying every few seconds that something still goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
from pyinfra.api.host import Host

TICK_SECONDS = 15


@contextmanager
def telling(host: Host, message: Callable[[float], str]) -> Iterator[None]:
    """Log a message every few seconds.

    Args:
        host: on whose behalf.
        message: makes it from the seconds since the start.
    """
    ticker = gevent.spawn(_tick, host, message)
    try:
        yield
    finally:
        ticker.kill()


def _tick(host: Host, message: Callable[[float], str]) -> None:
    started = time.monotonic()
    while True:
        gevent.sleep(TICK_SECONDS)
        host.log(message(time.monotonic() - started))
