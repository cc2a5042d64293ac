"""What an operation yields."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

from pyinfra import host, logger, state
from pyinfra.api import FunctionCommand, OperationError
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.output import format_text
from pyinfra.api.state import State

from deploy.errors import HostError

Commands: TypeAlias = Generator[PyinfraCommand, None, None]
"""The commands that bring a host into the wanted state; none if it is already."""


def is_refusal(command: PyinfraCommand) -> bool:
    """Whether a command only ends the run with an explanation."""
    return isinstance(command, FunctionCommand) and command.function is _fail


def refuse(message: str) -> Commands:
    """End the operation, and so the run, with an explanation.

    While operations are executed an exception would be shown with a traceback, so that there a
    command fails instead.

    Raises:
        OperationError: in a dry run.
    """
    if not state.is_executing:
        raise OperationError(message)
    yield FunctionCommand(_fail, (message,), {})


def not_deployable(error: HostError) -> str:
    """Why the current host cannot be deployed to."""
    return f"{host.name} cannot be deployed to\n{error}"


def end_here(message: str) -> Commands:
    """End the run at this point when it is reached, with an explanation; a dry run goes on."""
    yield FunctionCommand(_fail, (message,), {})


def foreign(owner: str | None) -> str:
    """Why something with a wanted name is left alone."""
    whose = f"deployment {owner!r}" if owner else "somebody else"
    return f"belongs to {whose}: remove or rename it, or rename the deployment"


def show_failure(host: Host, message: str) -> None:
    """Say why a command fails."""
    for line in message.splitlines():
        logger.error(f"{host.print_prefix}{format_text(line, fg='red')}")


def _fail(state: State, host: Host, message: str) -> bool:  # noqa: ARG001 - pyinfra gives both
    show_failure(host, message)
    return False
