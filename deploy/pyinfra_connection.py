"""pyinfra reaches the hosts of a deployment as the other commands do.

The only module that knows what is inside pyinfra's connectors. It replaces the method of the one
for SSH that makes the client, and puts a limit of time around what runs commands, here too. What it
takes for granted there is in tests/test_pyinfra_connection.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import paramiko
from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.api.host import Host
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, make_unix_command_for_host

from deploy.hosts.ssh import CONNECTION_ERRORS, Client, find_endpoints_ahead, open_ssh
from deploy.hosts.sudo import TRY_SUDO
from deploy.spec import DeploymentSpec, HostSpec

LOOK_SECONDS = 120
CHANGE_SECONDS = 600
"""For commands that change something and do not say themselves how long they may take."""
TIMEOUT_ATTRIBUTE = "timeout_seconds"
LIMITED = "atelier_limits_time"
"""Marks the methods that have been replaced."""
NOT_OF_THE_COMMAND = {"_get_pty", "_timeout", "_stdin", "_success_exit_codes"}
"""Arguments that pyinfra's connectors take for themselves."""
SUDO_PASSWORD = "prompted_sudo_password"  # noqa: S105 - the name of one
SUDO_SAID = "atelier_sudo_said"
"""What tries sudo since there is a connection: a greenlet, in what pyinfra keeps of the host."""

_hosts: dict[str, HostSpec] = {}
_asking: list[gevent.Greenlet[..., None]] = []
"""What is being found out of how to reach many hosts."""
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
    remote = [host for host in spec.hosts if not host.is_local]
    if len(remote) > 1:
        _asking.append(gevent.spawn(find_endpoints_ahead, remote))
    SSHConnector._connect = _connect  # type: ignore[method-assign, assignment]
    for connector in (SSHConnector, LocalConnector):
        if not hasattr(connector.run_shell_command, LIMITED):
            limited = _with_limit(connector.run_shell_command)
            connector.run_shell_command = limited  # type: ignore[method-assign]


@dataclass(frozen=True)
class Way:
    """How a command is run by what is not pyinfra, just as pyinfra would run it."""

    client: paramiko.SSHClient | None
    """The connection to the host; ``None`` on this machine."""
    text: str
    """The command for a shell, with sudo where that is declared."""


def way_to_run(host: Host, command: StringCommand, arguments: dict[str, Any]) -> Way | None:
    """How a command is run on a host; ``None`` on one of pyinfra's ``@fake``, where none is.

    Args:
        host: the host.
        command: the command.
        arguments: how pyinfra runs commands there, e.g. with sudo.
    """
    client = client_of(host)
    if client is None and not isinstance(host.connector, LocalConnector):
        return None
    own = {name: value for name, value in arguments.items() if name not in NOT_OF_THE_COMMAND}
    text = make_unix_command_for_host(host.state, host, command, **own).get_raw_value()
    return Way(client, text)


def client_of(host: Host) -> paramiko.SSHClient | None:
    """The connection over SSH that pyinfra has to a host, if there is one."""
    connector = host.connector
    return connector.client if isinstance(connector, SSHConnector) else None


def give_sudo(host: Host, program: str) -> None:
    """Tell pyinfra of a program on the host that prints the password that sudo wants.

    pyinfra looks for it, and for whether there is a password at all, before every command.
    """
    host.connector_data[f"sudo_askpass_path__{host.get_temp_dir_config()}"] = program
    host.connector_data[SUDO_PASSWORD] = "given to sudo by a program"


def has_sudo(host: Host) -> bool:
    """Whether pyinfra was told of such a program."""
    return SUDO_PASSWORD in host.connector_data


def forget_sudo(host: Host) -> None:
    """Forget that program: a host that was restarted has lost it."""
    host.connector_data.pop(f"sudo_askpass_path__{host.get_temp_dir_config()}", None)
    host.connector_data.pop(SUDO_PASSWORD, None)


def _connect(connector: SSHConnector) -> None:
    host = _hosts.get(connector.host.name)
    if host is None:
        _connect_as_pyinfra(connector)
    else:
        gevent.joinall(_asking)
        # pyinfra uses what every client of paramiko has
        client = open_ssh(host)
        connector.client = client  # type: ignore[assignment]
        if host.sudo:
            connector.host.connector_data[SUDO_SAID] = gevent.spawn(_try_sudo, client)


def _try_sudo(client: Client) -> tuple[bool, str] | None:
    """Whether sudo lets this user in without a password, and what it says.

    Returns:
        ``None`` if the connection broke; the next command is refused for that, with the reason.
    """
    try:
        _, output, _ = client.exec_command(TRY_SUDO, timeout=LOOK_SECONDS)
        said = output.read().decode("utf-8", "replace")
        return output.channel.recv_exit_status() == 0, said.strip()
    except CONNECTION_ERRORS:
        return None


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
