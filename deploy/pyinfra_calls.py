"""pyinfra learns from the stack which line calls an operation: here without the text of the lines.

To show it, Python would look through all modules for the files of the callers: 5 ms an operation
and host. What it takes for granted inside pyinfra is in tests/test_pyinfra_calls.py.
"""

from __future__ import annotations

import inspect
from functools import partial

from pyinfra.api import util


def find_lines_without_their_text() -> None:
    """Find only the numbers of the lines from now on; pyinfra orders operations by them."""
    util.stack = partial(inspect.stack, 0)
    util.getframeinfo = partial(inspect.getframeinfo, context=0)
