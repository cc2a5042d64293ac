"""What an operation yields."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, ParamSpec, TypeAlias

from pyinfra import logger, state
from pyinfra.api import FunctionCommand, OperationError, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.output import format_text
from pyinfra.api.state import State

from deploy.facts import look

Arguments = ParamSpec("Arguments")
Commands: TypeAlias = Generator[PyinfraCommand, None, None]
"""The commands that bring a host into the wanted state; none if it is already."""


def changes_host(body: Callable[Arguments, Commands]) -> Any:
    """An operation that changes its host: what was seen of the host holds no longer then."""

    @operation()
    @wraps(body)
    def changing(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Commands:
        for command in body(*arguments, **settings):
            yield command
            if state.is_executing:
                look.forget()

    return changing


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
