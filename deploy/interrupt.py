"""Ctrl-C ends a run when the commands that run on its hosts have ended, and gives locks back.

pyinfra's own handler raises SystemExit in whatever runs at that moment: in the middle of a host's
operation or of gevent's loop, after which the run can wait for ever. It also tells the shell that
all went well.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

import gevent

MESSAGE = (
    "interrupted: waiting until the commands that run on hosts have ended. Press Ctrl-C again to"
    " end at once; the next run goes on from what this one leaves."
)
STATUS = 128 + signal.SIGINT
"""What a shell calls a program that was interrupted."""


def interrupt_where_it_waits() -> None:
    """From now on SIGINT ends the calling greenlet alone; a second one ends the program at once."""
    waiting = gevent.getcurrent()

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(MESSAGE, file=sys.stderr)  # noqa: T201
        gevent.get_hub().loop.run_callback_threadsafe(waiting.throw, SystemExit(STATUS))

    signal.signal(signal.SIGINT, interrupt)
