"""Logging in to a host past pyinfra, and sudo there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import paramiko

from deploy.hosts.ssh import open_ssh
from deploy.hosts.ssh_shell import runs_nothing
from deploy.hosts.sudo import SUDO_SAYS, TRY_SUDO, ask_password
from deploy.spec import HostSpec

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Login:
    """A connection over SSH, and what is known of sudo there."""

    ssh: paramiko.SSHClient
    sudo_wants_password: bool


def log_in(host: HostSpec, stack: ExitStack) -> Login:
    """Connect to a host over SSH, and find out about sudo there.

    Raises:
        SSHException, EOFError, OSError: if that is not possible.
    """
    ssh = stack.enter_context(open_ssh(host))
    if not host.sudo:
        return Login(ssh, sudo_wants_password=False)
    _, output, _ = ssh.exec_command(TRY_SUDO, timeout=TIMEOUT_SECONDS)
    said = output.read().decode("utf-8", "replace")
    lets_in = output.channel.recv_exit_status() == 0
    if not (lets_in or SUDO_SAYS in said):
        raise paramiko.SSHException(runs_nothing(said))
    return Login(ssh, sudo_wants_password=not lets_in)


def with_sudo(host: HostSpec, command: str, *, wants_password: bool) -> tuple[str, str]:
    """The command under sudo, and the line that it reads first where sudo wants a password."""
    if not wants_password:
        return f"sudo -n {command}", ""
    return f"sudo -k -S -p '' {command}", f"{ask_password(host.name)}\n"
