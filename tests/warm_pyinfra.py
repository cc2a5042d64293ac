"""Runs of pyinfra that need not load it first: a process that has loaded it forks for each.

A run begins as a new process would: nothing of pyinfra has run in the one that forks. Loading takes
more than a second of a processor otherwise, longer than most of what is tested.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
QUIET = {"PYINFRA_PROGRESS": "off"}
"""pyinfra reads it when it is loaded."""
LOADED = ("pyinfra_cli.main", "deploy.inventory", "deploy.tasks.units", "deploy.live.verify")
"""The first one patches the standard library, and must come before all others."""
TIMEOUT_SECONDS = 120


def run_pyinfra(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What ``python -m pyinfra ARGUMENTS`` does in the project's directory.

    Raises:
        AssertionError: if it takes longer than two minutes.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as directory:
        said, errors = Path(directory, "stdout"), Path(directory, "stderr")
        asked = {"arguments": arguments, "environment": dict(os.environ) | QUIET}
        asked |= {"stdout": str(said), "stderr": str(errors)}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        assert status != -signal.SIGALRM, f"{arguments} runs for {TIMEOUT_SECONDS} s"
        return subprocess.CompletedProcess(arguments, status, said.read_text(), errors.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one, whose end of the pipe it reads."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.warm_pyinfra"],
        cwd=ROOT,
        env=os.environ | QUIET,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def serve() -> None:
    """Fork for each line that is read, and answer with the exit status; returns in a child."""
    for module in LOADED:
        import_module(module)
    from gevent.monkey import get_original

    fork, wait = get_original("os", "fork"), get_original("os", "waitpid")
    for line in sys.stdin:
        child = fork()
        if child == 0:
            become(json.loads(line))
            return
        _, ended = wait(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(ended)}\n")
        sys.stdout.flush()
    sys.exit()


def become(asked: dict[str, Any]) -> None:
    """Make this process what one that was started for a run would be."""
    signal.alarm(TIMEOUT_SECONDS)
    for descriptor, path in enumerate((os.devnull, asked["stdout"], asked["stderr"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv[1:] = asked["arguments"]


if __name__ == "__main__":
    serve()
    import_module("pyinfra_cli.main").main()
