"""pyinfra reaches the hosts of a deployment as the other commands do.

The only module that replaces something inside pyinfra: in its SSH connector, the method that makes
the client, and around the one that runs a command a limit of time. What is taken for granted there
is in tests/test_pyinfra_connection.py.
"""

from __future__ import annotations

from typing import Any

from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput

from deploy.hosts.ssh import open_ssh
from deploy.spec import DeploymentSpec, HostSpec

LOOK_SECONDS = 120
CHANGE_SECONDS = 600
"""For commands that change something and do not say themselves how long they may take."""
TIMEOUT_ATTRIBUTE = "timeout_seconds"

_hosts: dict[str, HostSpec] = {}
_connect_as_pyinfra = SSHConnector._connect
_run_without_limit = SSHConnector.run_shell_command


def connect_as_declared(spec: DeploymentSpec) -> None:
    """Connect so from now on, to the hosts of this deployment."""
    _hosts.update({host.name: host for host in spec.hosts})
    SSHConnector._connect = _connect  # type: ignore[method-assign, assignment]
    SSHConnector.run_shell_command = _run  # type: ignore[method-assign, assignment]


def _connect(connector: SSHConnector) -> None:
    host = _hosts.get(connector.host.name)
    if host is None:
        _connect_as_pyinfra(connector)
    else:
        # pyinfra uses what every client of paramiko has
        connector.client = open_ssh(host)  # type: ignore[assignment]


def _run(
    connector: SSHConnector, command: StringCommand, *args: Any, **arguments: Any
) -> tuple[bool, CommandOutput]:
    usual = CHANGE_SECONDS if connector.state.is_executing else LOOK_SECONDS
    seconds = arguments.get("_timeout") or getattr(command, TIMEOUT_ATTRIBUTE, usual)
    arguments["_timeout"] = seconds
    try:
        return _run_without_limit(connector, command, *args, **arguments)
    except TimeoutError:
        said = (
            f"{connector.host.name} has not finished this within {seconds} s, so it is given up. "
            "fix: see on the host what hangs, e.g. Docker (docker info) or a disk (dmesg)"
        )
        connector.host.log_styled(said, fg="red", log_func=logger.error)
        return False, CommandOutput([])
