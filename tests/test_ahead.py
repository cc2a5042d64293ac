"""What is read while a run waits for its hosts, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

SAY = """
import sys
import gevent
from deploy.ahead import TO_ASK, TO_LOOK, read_ahead
from deploy.catalog import load_catalog

names = {*TO_LOOK, *TO_ASK}
files = {"images", "models"}
read_ahead(("tiny-coder", "my-own"))
print("before", len(names & set(sys.modules)), len(files & set(vars(load_catalog()))))
gevent.wait()
print("after", len(names - set(sys.modules)), len(files & set(vars(load_catalog()))))
"""


def test_everything_is_read_while_nothing_else_happens() -> None:
    said = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, timeout=120)
    assert said.stdout.splitlines() == ["before 0 0", "after 0 2"], said.stderr
