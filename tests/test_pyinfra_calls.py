"""What is taken for granted inside pyinfra: how it finds the lines that call operations.

In a process of its own, as pyinfra patches the interpreter.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

INVENTORY = 'hosts = ["@fake/one", "@fake/two"]\n{more}'
FASTER = (
    "from deploy.pyinfra_calls import find_lines_without_their_text\n"
    "find_lines_without_their_text()\n"
)
DEPLOY = """
from pyinfra import host, state
from pyinfra.operations import server
from several import several

server.shell(name="first", commands="true")
for name in host.loop(["b", "a"]):
    several(name)
server.shell(name="last", commands="true")
for key in host.op_hash_order:
    print("order:", host.name, key, state.op_meta[key].op_order, state.op_meta[key].names)
"""
TASKS = """
from pyinfra.operations import server

def several(name):
    server.shell(name=f"{name} one", commands="true")
    for number in range(2):
        server.shell(name=f"{name} {number}", commands="true")
"""


def orders(home: Path, more: str) -> list[str]:
    (home / "inventory.py").write_text(INVENTORY.format(more=more))
    (home / "order.py").write_text(DEPLOY)
    (home / "several.py").write_text(TASKS)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "pyinfra", "-y", "inventory.py", "order.py"]
    ran = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return sorted(line for line in ran.stdout.splitlines() if line.startswith("order:"))


def test_operations_have_the_same_order_and_hash_with_and_without_the_text_of_lines(
    tmp_path: Path,
) -> None:
    usual = orders(tmp_path, "")
    assert len(usual) == 2 * 8
    assert orders(tmp_path, FASTER) == usual


def test_pyinfra_asks_for_stacks_where_it_is_told_not_to_read_sources(tmp_path: Path) -> None:
    counting = (
        FASTER
        + "import inspect\n"
        + "def refuse(*_):\n    raise AssertionError('a source was read')\n"
        + "inspect.findsource = refuse\n"
    )
    assert len(orders(tmp_path, counting)) == 2 * 8
