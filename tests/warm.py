"""Runs of pyinfra and ``atelier`` that need not load them: a process that has loaded one forks.

A run begins as a new process would: nothing of the program has run in the one that forks, which
has its modules and its catalogue. Loading them takes more than a second of a processor otherwise,
longer than most of what is tested.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
QUIET = {"PYINFRA_PROGRESS": "off"}
"""pyinfra reads it when it is loaded."""
USED = ("deploy.inventory", "deploy.artefacts", "deploy.live.verify", "docker", "httpx")
PROGRAMS = {
    # the first one patches the standard library, and must come before all others
    "pyinfra": ("pyinfra_cli.main", "deploy.tasks.units", "deploy.tasks.people", *USED),
    "atelier": ("deploy.cli.main", "deploy.live.status", *USED),
}
"""What each is loaded with; the function ``main`` of the first module is the program."""
TIMEOUT_SECONDS = 120

_idle: dict[str, list[subprocess.Popen[str]]] = {program: [] for program in PROGRAMS}
"""Processes that have loaded a program and that no thread of this one talks to."""


def run_warm(
    program: str,
    *arguments: str,
    directory: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout: int = TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """What ``python -m pyinfra ARGUMENTS`` or ``atelier ARGUMENTS`` does in a directory.

    Args:
        program: pyinfra or atelier.
        arguments: of it.
        directory: where it runs; by default the project's.
        environment: its variables; by default those of this process.
        timeout: seconds that it may take.

    Raises:
        subprocess.TimeoutExpired: if it takes longer; it has ended then.
    """
    with tempfile.TemporaryDirectory() as files, _server(program) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        said, errors = Path(files, "stdout"), Path(files, "stderr")
        asked: dict[str, Any] = {
            "arguments": arguments,
            "directory": str(directory),
            "environment": dict(os.environ if environment is None else environment) | QUIET,
            "timeout": timeout,
            "files": [os.devnull, str(said), str(errors)],
        }
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        if status == -signal.SIGALRM:
            raise subprocess.TimeoutExpired([program, *arguments], timeout, said.read_text())
        return subprocess.CompletedProcess(arguments, status, said.read_text(), errors.read_text())


@contextmanager
def _server(program: str) -> Iterator[subprocess.Popen[str]]:
    """A process that forks; it ends with this one, whose end of the pipe it reads."""
    try:
        server = _idle[program].pop()
    except IndexError:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", program],
            cwd=ROOT,
            env=os.environ | QUIET,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    yield server
    _idle[program].append(server)


def serve(modules: tuple[str, ...]) -> None:
    """Fork for each line that is read, and answer with the exit status; returns in a child."""
    for module in modules:
        import_module(module)
    _read_catalog()
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


def _read_catalog() -> None:
    from deploy.catalog.catalog import Catalog, load_catalog

    for name, value in vars(Catalog).items():
        if isinstance(value, cached_property):
            # models are read one by one
            dict(getattr(load_catalog(), name))


def become(asked: dict[str, Any]) -> None:
    """Make this process what one that was started for a run would be."""
    signal.alarm(asked["timeout"])
    for descriptor, path in enumerate(asked["files"]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv[1:] = asked["arguments"]
    if loaded := sys.modules.get("deploy.operations.lock"):
        # when the run began, which is noted as it is loaded
        loaded.__dict__["BEGAN"] = time.monotonic()


if __name__ == "__main__":
    loaded = PROGRAMS[sys.argv[1]]
    serve(loaded)
    import_module(loaded[0]).main()
