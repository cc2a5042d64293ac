"""A shell script on a host: secrets on standard input only, progress while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from pyinfra import logger
from pyinfra.api import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploy.hosts.explain_docker import explain_docker
from deploy.operations.commands import show_failure
from deploy.operations.progress import telling
from deploy.scripts import read_script

INDENT = "    "
"""Before the lines of logs that scripts show: what others said, not Docker."""


def said_by_docker(output: Iterable[OutputLine]) -> str:
    """What a command printed, without the logs that it showed."""
    return "\n".join(line.line for line in output if not line.line.startswith(INDENT))


def fix_of(said: str) -> str:
    """A line with the fix for what Docker said; empty if none is known."""
    fix = explain_docker(said)
    return f"fix: {fix}" if fix else ""


class DockerCommand(StringCommand):
    """A command of Docker's client; when it fails, the fix is said where one is known."""

    def execute(
        self, state: State, host: Host, connector_arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Run it."""
        succeeded, output = super().execute(state, host, connector_arguments)
        if not succeeded:
            show_failure(host, fix_of(said_by_docker(output)))
        return succeeded, output


class ScriptCommand(StringCommand):
    """Runs one of Atelier's scripts, which may take long: images are pulled, models loaded.

    Args:
        filename: the script.
        arguments: its arguments; no secret may be among them.
        stdin: what it reads; secrets may be in it.
        redact: applied to every line of output before anybody sees it.
        progress: what is said every few seconds while it runs; empty of a script that says so
            itself: its lines are shown as they come, as they are.
    """

    timeout_seconds = 4 * 3600
    """When it is given up."""

    def __init__(
        self,
        filename: str,
        *arguments: str,
        stdin: str = "",
        redact: Callable[[str], str],
        progress: str = "waiting until it is healthy",
    ) -> None:
        script = QuoteString(read_script(filename))
        quoted = [QuoteString(argument) for argument in arguments]
        super().__init__("sh", "-c", script, "atelier", *quoted, _stdin=stdin)
        self._redact = redact
        self._progress = progress

    def execute(
        self, state: State, host: Host, connector_arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Run it, saying every few seconds that it still runs."""
        connector_arguments.update(self.connector_arguments)
        itself = not self._progress
        with nullcontext() if itself else telling(host, self._message):
            succeeded, output = host.run_shell_command(
                self, print_output=itself, print_input=state.print_input, **connector_arguments
            )
        for line in output:
            line.line = self._redact(line.line)
            if state.print_output and not itself:
                logger.info(f"{host.print_prefix}{line.line}")
        if not succeeded:
            show_failure(host, self.explain(self.said(output)))
        # of what fails pyinfra shows all output, which was shown already
        return succeeded, CommandOutput([]) if itself else output

    def said(self, output: Iterable[OutputLine]) -> str:
        """The lines that the explanation is looked for in."""
        return said_by_docker(output)

    def explain(self, said: str) -> str:
        """What the operator is told when it fails, from what Docker said; empty for nothing."""
        return fix_of(said)

    def _message(self, seconds: float) -> str:
        return f"{self._progress}: {seconds:.0f} s"
