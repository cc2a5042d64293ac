"""Large files of this machine on a host: copied once, resumed, never half of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pyinfra.api import QuoteString, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.local_file import LocalFile
from deploy.operations.commands import show_failure
from deploy.operations.progress import telling
from deploy.operations.script import fix_of
from deploy.operations.stream import run_reading
from deploy.scripts import read_script
from deploy.units import MB

THERE = "there"
WRONG_DIGEST = 3


@dataclass
class Progress:
    """How far a copy is."""

    name: str
    size_bytes: int
    offset: int
    sent: int = 0

    def add(self, count: int) -> None:
        """So many more bytes went out."""
        self.sent += count

    @property
    def done(self) -> str:
        """What is there, e.g. ``83 of 168 MB``."""
        return f"{(self.offset + self.sent) / MB:.0f} of {self.size_bytes / MB:.0f} MB"

    def line(self, seconds: float) -> str:
        """What is said while it goes on."""
        if self.offset + self.sent >= self.size_bytes:
            return f"{self.name}: copied, comparing its digest"
        return f"{self.name}: {self.done} copied, {self.sent / MB / max(seconds, 1):.1f} MB/s"


class CopyCommand(PyinfraCommand):
    """Copies a file, goes on where an earlier copy was cut, and checks its digest.

    Until it is whole and right it is ``<path>.part``.

    Args:
        file: the file on this machine.
        path: where it belongs on the host.
        name: what is said that it is.
    """

    def __init__(self, file: LocalFile, path: PurePosixPath, name: str) -> None:
        super().__init__()
        self.file = file
        self.path = path
        self._name = name

    def __repr__(self) -> str:
        return f"CopyCommand({self.file.path}, {self.path})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Copy it, saying every few seconds how far it is."""
        begin = self._command("begin")
        succeeded, output = host.run_shell_command(
            begin, print_input=state.print_input, **connector_arguments
        )
        if not succeeded:
            show_failure(host, _with_fix(f"{self.path}: {output.output}"))
        if not succeeded or output.stdout == THERE:
            return succeeded
        return self._copy(host, dict(connector_arguments), int(output.stdout or 0))

    def _copy(self, host: Host, arguments: dict[str, Any], offset: int) -> bool:
        if offset:
            host.log(f"{self._name}: going on after {offset / MB:.0f} MB")
        status, message = self._send(host, arguments, offset)
        if status == WRONG_DIGEST and offset:
            host.log(f"{self._name}: what an earlier copy left was corrupt, copying it again")
            status, message = self._send(host, arguments, 0)
        if status == WRONG_DIGEST:
            message = "it arrived with a wrong digest and was thrown away: run it again"
        if status:
            show_failure(host, _with_fix(f"{self._name}: {message}"))
        return status == 0

    def _send(self, host: Host, arguments: dict[str, Any], offset: int) -> tuple[int, str]:
        """Exit status of the receiving script, and what it said."""
        progress = Progress(self._name, self.file.size_bytes, offset)
        command = self._command("receive", str(offset), self.file.sha256)
        source = (self.file.path, offset)
        try:
            self.file.path.open("rb").close()
        except OSError as error:
            return 1, f"{self.file.path} cannot be read on this machine: {error.strerror}"
        try:
            with telling(host, progress.line):
                return run_reading(host, command, arguments, source, progress.add)
        except CONNECTION_ERRORS as error:
            reason = f" ({error})" if str(error) else ""
            return 1, (
                f"the connection broke after {progress.done}{reason}; "
                "what arrived stays there: run it again to go on from there"
            )

    def _command(self, action: str, *more: str) -> StringCommand:
        script = QuoteString(read_script("receive.sh"))
        arguments = (str(self.path), str(self.file.size_bytes), *more)
        quoted = [QuoteString(argument) for argument in arguments]
        return StringCommand("sh", "-c", script, "atelier", action, *quoted)


def _with_fix(said: str) -> str:
    """What a host said of a file, and what to do about it, where that is known."""
    return f"{said}\n{fix}" if (fix := fix_of(said)) else said
