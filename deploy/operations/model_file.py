"""Model files: copied once, under their digest, never half of one."""

from __future__ import annotations

from pyinfra import host

from deploy.drift import Change
from deploy.facts.files import FileSize
from deploy.operations.change import announce
from deploy.operations.commands import Commands
from deploy.operations.copy import CopyCommand
from deploy.operations.lock import changes_host
from deploy.services import HostModelFile


@changes_host
def present(file: HostModelFile) -> Commands:
    """The file is on the host, below a directory named after its digest.

    A file of the right size is taken to be the right one: its digest was checked when it arrived.
    """
    if host.get_fact(FileSize, path=str(file.path)) == file.source.size_bytes:
        host.noop(f"model file {file.path} is there")
        return
    announce(Change(f"model file {file.path}", "copy"))
    yield CopyCommand(file.source, file.path, file.path.name)
