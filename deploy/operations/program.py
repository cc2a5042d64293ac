"""Programs of services without a container: unpacked once, each version in its own directory."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.changes.change import Change
from deploy.errors import AtelierError
from deploy.facts import look
from deploy.facts.files import PathStates
from deploy.operations.change import announce
from deploy.operations.commands import Commands, show_failure
from deploy.operations.copy import CopyCommand
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand
from deploy.programs import ProgramArchive, fetch_archive
from deploy.services import HostProgram

SCRIPT = "program.sh"


@changes_host
def present(program: HostProgram) -> Commands:
    """The program is on the host; what is there with its digest is taken to be whole.

    It is unpacked next to its place, and moved there when it is.
    """
    found = look.ask(PathStates, paths=[str(program.path)])
    if program.archive is None or str(program.path) in found:
        host.noop(f"{program.title} is there")
        return
    announce(Change(f"program {program.title}", "install"))
    yield InstallCommand(program, program.archive)


class InstallCommand(PyinfraCommand):
    """Fetches an archive to this machine if it must be, copies it, and unpacks it on the host.

    Args:
        program: the program.
        archive: what it is in.
    """

    def __init__(self, program: HostProgram, archive: ProgramArchive) -> None:
        super().__init__()
        self.program = program
        self._archive = archive

    def __repr__(self) -> str:
        return f"InstallCommand({self.program.title})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Install it; an archive that cannot be had or has no such program is explained."""
        try:
            file = fetch_archive(self._archive, host.log)
        except AtelierError as error:
            show_failure(host, str(error))
            return False
        program = self.program
        copied = program.path.parent.with_name(f"{program.path.parent.name}.archive")
        copy = CopyCommand(file, copied, program.title)
        if not copy.execute(state, host, connector_arguments):
            return False
        command = ScriptCommand(
            *(SCRIPT, "unpack", str(copied), str(program.path.parent), program.name),
            redact=str,
            progress=f"unpacking {program.title}",
        )
        unpacked, output = command.execute(state, host, dict(connector_arguments))
        if not unpacked:
            show_failure(host, output.output)
        return unpacked
