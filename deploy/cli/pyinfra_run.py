"""Running pyinfra itself, so that a verb does exactly what an operator's own run would do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from deploy.errors import HostError, Problem

PROJECT = Path(__file__).parent.parent.parent
READY = re.compile(r"\] (Connected|Ready: \S+)\s*$")
CHANGES_FILE = "ATELIER_CHANGES_FILE"


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
    command = [sys.executable, "-m", "pyinfra", str(inventory.resolve()), *operations]
    with tempfile.TemporaryDirectory() as directory:
        changes = Path(directory) / "changes.jsonl"
        result = subprocess.run(
            command,
            cwd=PROJECT,
            env=os.environ | {CHANGES_FILE: str(changes), "PYINFRA_PROGRESS": "off"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        rows = changes.read_text(encoding="utf-8").splitlines() if changes.exists() else []
    if result.returncode:
        raise HostError(Problem(f"pyinfra {inventory}", _essence(result.stderr)))
    return Run([json.loads(row) for row in rows], result.stderr)


def _essence(messages: str) -> str:
    """What pyinfra said, without its own progress lines."""
    lines = [line for line in messages.splitlines() if line.strip()]
    return dedent("\n".join(line for line in lines if not _is_progress(line)))


def _is_progress(line: str) -> bool:
    progress = ("--> Load", "--> Connect", "--> Prepar", "--> Disconnect", "Loading: ")
    return line.strip().startswith(progress) or bool(READY.search(line))
