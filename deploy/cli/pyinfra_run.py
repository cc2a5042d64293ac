"""Running pyinfra itself, so that a verb does exactly what an operator's own run would do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from types import FrameType
from typing import Any

from deploy.cli.output import error_console
from deploy.errors import HostError, Problem
from deploy.hosts.finding import FINDINGS_FILE

PROJECT = Path(__file__).parent.parent.parent
READY = re.compile(r"\] (Connected|Ready: \S+)\s*$")
CHANGES_FILE = "ATELIER_CHANGES_FILE"
INTERRUPTED = (
    "interrupted: waiting until the commands that run on hosts have ended. Press Ctrl-C again to"
    " end at once."
)


@dataclass(frozen=True)
class Run:
    """How a run of pyinfra went."""

    changes: list[dict[str, Any]]
    """What it changed or would change, in order."""
    messages: str
    """What it said."""


def run_pyinfra(inventory: Path, *operations: str) -> Run:
    """Run pyinfra from the project's directory, quietly.

    Args:
        inventory: the inventory file.
        operations: a deploy file or a function with its arguments, and pyinfra's own flags.

    Raises:
        HostError: with what pyinfra said, if it failed.
    """
    result, changes = _run(inventory, operations, CHANGES_FILE)
    if result.returncode:
        raise HostError(Problem(f"pyinfra {inventory}", _essence(result.stderr)))
    return Run(changes, result.stderr)


def run_doctor(inventory: Path) -> list[dict[str, Any]]:
    """Look at every host; one that cannot be reached does not keep the others from it.

    Returns:
        Findings, host by host.

    Raises:
        HostError: with what pyinfra said, if it failed for a reason that is not among them.
    """
    operations = ("deploy.tasks.doctor.examine", "--dry", "--json", "--fail-percent", "100")
    result, findings = _run(inventory, operations, FINDINGS_FILE)
    explained = any(finding["status"] == "problem" for finding in findings)
    if result.returncode and not explained:
        raise HostError(Problem(f"pyinfra {inventory}", _essence(result.stderr)))
    return sorted(findings, key=lambda finding: str(finding["host"]))


def _run(
    inventory: Path, operations: tuple[str, ...], file_variable: str
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """How pyinfra ended, and the lines of JSON that it wrote to the file of that variable.

    Raises:
        InventoryFileError: if the inventory cannot be read: pyinfra would find no hosts in it, and
            say that all is well.
    """
    _require_hosts(inventory)
    command = [sys.executable, "-m", "pyinfra", str(inventory.resolve()), *operations]
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory) / "written.jsonl"
        with _pyinfra_ends_by_itself():
            result = subprocess.run(
                command,
                cwd=PROJECT,
                env=os.environ | {file_variable: str(written), "PYINFRA_PROGRESS": "off"},
                # at a terminal, sudo's password is asked for
                stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        rows = written.read_text(encoding="utf-8").splitlines() if written.exists() else []
    return result, [json.loads(row) for row in rows]


@contextmanager
def _pyinfra_ends_by_itself() -> Iterator[None]:
    """Wait for pyinfra at Ctrl-C, which it gets, too: subprocess would kill it.

    It ends what it does on hosts, and gives locks back. A second Ctrl-C ends all at once.
    """
    is_interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's
        nonlocal is_interrupted
        is_interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        error_console.print(INTERRUPTED, markup=False, soft_wrap=True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if is_interrupted:
        raise KeyboardInterrupt


def _require_hosts(inventory: Path) -> None:
    from deploy.inventory import load_inventory, refuse_yaml

    load_inventory(inventory)
    refuse_yaml(inventory)


def _essence(messages: str) -> str:
    """What pyinfra said, without its own progress lines."""
    lines = [line for line in messages.splitlines() if line.strip()]
    return dedent("\n".join(line for line in lines if not _is_progress(line)))


def _is_progress(line: str) -> bool:
    progress = ("--> Load", "--> Connect", "--> Prepar", "--> Disconnect", "Loading: ")
    return line.strip().startswith(progress) or bool(READY.search(line))
