"""pyinfra reaches the hosts of a deployment as the other commands do.

The only module that replaces something inside pyinfra: in its SSH connector, the method that makes
the client, and around what runs commands, here too, a limit of time. What it takes for granted
there is in tests/test_pyinfra_connection.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput

from deploy.hosts.ssh import open_ssh
from deploy.spec import DeploymentSpec, HostSpec

LOOK_SECONDS = 120
CHANGE_SECONDS = 600
"""For commands that change something and do not say themselves how long they may take."""
TIMEOUT_ATTRIBUTE = "timeout_seconds"
LIMITED = "atelier_limits_time"
"""Marks the methods that have been replaced."""

_hosts: dict[str, HostSpec] = {}
_connect_as_pyinfra = SSHConnector._connect

Connector = SSHConnector | LocalConnector
Run = Callable[..., tuple[bool, CommandOutput]]


class PatientCommand(StringCommand):
    """A command that says itself how long it may take.

    Args:
        text: the command.
        timeout_seconds: when it is given up.
    """

    def __init__(self, text: str, timeout_seconds: int) -> None:
        super().__init__(text)
        self.timeout_seconds = timeout_seconds


def connect_as_declared(spec: DeploymentSpec) -> None:
    """Connect so from now on, to the hosts of this deployment."""
    _hosts.update({host.name: host for host in spec.hosts})
    SSHConnector._connect = _connect  # type: ignore[method-assign, assignment]
    for connector in (SSHConnector, LocalConnector):
        if not hasattr(connector.run_shell_command, LIMITED):
            limited = _with_limit(connector.run_shell_command)
            connector.run_shell_command = limited  # type: ignore[method-assign]


def _connect(connector: SSHConnector) -> None:
    host = _hosts.get(connector.host.name)
    if host is None:
        _connect_as_pyinfra(connector)
    else:
        # pyinfra uses what every client of paramiko has
        connector.client = open_ssh(host)  # type: ignore[assignment]


def _with_limit(run_without: Run) -> Run:
    def run(
        connector: Connector, command: StringCommand | str, *args: Any, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        usual = CHANGE_SECONDS if connector.state.is_executing else LOOK_SECONDS
        seconds = arguments.get("_timeout") or getattr(command, TIMEOUT_ATTRIBUTE, usual)
        arguments["_timeout"] = seconds
        try:
            return run_without(connector, command, *args, **arguments)
        except TimeoutError:
            connector.host.log_styled(
                f"{_doing(connector)} is given up: not done within {seconds} s. fix: see on "
                f"{connector.host.name} what hangs, e.g. Docker (docker info) or a disk (dmesg)",
                fg="red",
                log_func=logger.error,
            )
            return False, CommandOutput([])

    setattr(run, LIMITED, True)
    return run


def _doing(connector: Connector) -> str:
    """What the command is for."""
    host, state = connector.host, connector.state
    if not (state.is_executing and host.executing_op_hash):
        return "looking at the host"
    return ", ".join(sorted(state.get_op_meta(host.executing_op_hash).names))
