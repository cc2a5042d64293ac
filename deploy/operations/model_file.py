"""Model files: copied once, under their digest, never half of one."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation

from deploy.drift import Change
from deploy.facts.files import FileSize
from deploy.operations.change import announce
from deploy.operations.commands import Commands
from deploy.services import HostModelFile


@operation()
def present(file: HostModelFile) -> Commands:
    """The file is on the host, below a directory named after its digest.

    A file of the right size is taken to be the right one: its digest was checked when it arrived.
    """
    if host.get_fact(FileSize, path=str(file.path)) == file.source.size_bytes:
        host.noop(f"model file {file.path} is there")
        return
    announce(Change(f"model file {file.path}", "copy"))
    partial, path = QuoteString(f"{file.path}.part"), QuoteString(str(file.path))
    yield StringCommand("mkdir", "-p", QuoteString(str(file.path.parent)))
    yield FileUploadCommand(str(file.source.path), f"{file.path}.part")
    check = QuoteString(f"{file.source.sha256}  {file.path}.part")
    yield StringCommand(
        *("echo", check, "|", "sha256sum", "--check", "--quiet", "&&"),
        *("chmod", "644", partial, "&&", "mv", partial, path),
    )
