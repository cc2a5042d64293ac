"""Saying what an operation changes, the same way in a dry run and in a real one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pyinfra import host, state
from pyinfra.api.output import format_text

from deploy.changes.change import Change

CHANGES_FILE = "ATELIER_CHANGES_FILE"
"""Environment variable: a file to which every change is appended as a line of JSON."""


def announce(change: Change) -> None:
    """Print a change under ``--diff``, and append it to the changes file if there is one."""
    if state.config.DIFF:
        host.log(f"Will {change.action} {format_text(change.resource, bold=True)}")
        for field in change.fields:
            old = f"{format_text(field.old, fg='red')} -> " if field.old else ""
            host.log(f"    {field.field}: {old}{format_text(field.new, fg='green')}")
        for line in change.diff:
            host.log(f"    {line}")
    _record(change)


def announce_all(changes: Iterable[Change]) -> None:
    """Announce several changes."""
    for change in changes:
        announce(change)


def _record(change: Change) -> None:
    path = os.environ.get(CHANGES_FILE)
    if not path:
        return
    stage = "execute" if state.is_executing else "prepare"
    row = {"host": host.name, "stage": stage} | asdict(change)
    del row["diff"]
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
