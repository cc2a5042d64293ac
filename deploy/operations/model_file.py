"""Model files: copied once, under their digest, never half of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.changes.change import Change, FieldChange
from deploy.facts import look
from deploy.facts.files import PathState, PathStates
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.copy import CopyCommand
from deploy.operations.lock import changes_host
from deploy.operations.questions import model_paths
from deploy.services import HostModelFile

FOR_ALL = {"directory": 0o755, "model file": 0o644}
"""What the user in a container needs of them, whatever the host's umask was."""


@changes_host
def present(file: HostModelFile) -> Commands:
    """The file, or every part of it, is on the host, below a directory named after its digest.

    A file of the right size is taken to be the right one: its digest was checked when it arrived.
    """
    directory = str(file.path.parent)
    found = look.ask(PathStates, paths=model_paths(file))
    missing = [
        (part, path)
        for part, path in file.parts
        if str(path) not in found or found[str(path)].size_bytes != part.size_bytes
    ]
    announce_all(Change(f"model file {path}", "copy") for _, path in missing)
    gone = {str(path) for _, path in missing}
    closed = dict(_closed({path: found[path] for path in found.keys() - gone}, directory))
    announce_all(closed[path] for path in sorted(closed))
    if not missing and not closed:
        host.noop(f"model file {file.path} is there")
    for part, path in missing:
        yield CopyCommand(part, path, path.name)
    if closed:
        yield StringCommand("chmod", "a+rX", *(QuoteString(path) for path in sorted(closed)))


def _closed(found: Mapping[str, PathState], directory: str) -> Iterator[tuple[str, Change]]:
    """What the user in a container cannot read, and how that is shown."""
    for path, state in found.items():
        kind = "directory" if path == directory else "model file"
        wanted = state.mode | FOR_ALL[kind] & 0o555
        if wanted != state.mode:
            change = FieldChange("mode", f"{state.mode:o}", f"{wanted:o}")
            yield path, Change(f"{kind} {path}", "update", (change,))
