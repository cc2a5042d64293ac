"""Commands on a host past pyinfra: here, or over SSH, with sudo where it is declared."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import paramiko

from deploy.errors import ConnectionFailedError, Problem
from deploy.hosts.connection import explain
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.hosts.ssh_shell import Output
from deploy.live.login import Login, log_in, with_sudo
from deploy.spec import HostSpec

TIMEOUT_SECONDS = 60
CHUNK_BYTES = 65536


def run_once(host: HostSpec, command: str) -> tuple[int, str]:
    """Log in, run a command and log out: its exit status, and what it printed, errors included.

    Args:
        host: the host.
        command: for ``sh``.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
    """
    try:
        with ExitStack() as stack:
            login = None if host.is_local else log_in(host, stack)
            return run(host, login, command)
    except CONNECTION_ERRORS as error:
        found = f"cannot be reached over SSH: {error}"
        fix = explain(str(error), host)
        raise ConnectionFailedError(Problem(f"host {host.name}", found, fix=fix)) from None


def run(host: HostSpec, login: Login | None, command: str) -> tuple[int, str]:
    """Exit status of a command, and what it printed, errors included.

    Args:
        host: the host.
        login: the connection to it; ``None`` where it is this machine.
        command: for ``sh``.

    Raises:
        SSHException, EOFError, OSError: if the connection breaks.
    """
    command, first_line = as_declared(host, login, command)
    if login is None:
        finished = subprocess.run(
            ["sh", "-c", command],
            input=first_line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        return finished.returncode, finished.stdout
    return _over_ssh(login.ssh, command, first_line)


def _over_ssh(ssh: paramiko.SSHClient, command: str, first_line: str) -> tuple[int, str]:
    stdin, stdout, _ = ssh.exec_command(f"exec 2>&1\n{command}", timeout=TIMEOUT_SECONDS)
    stdin.write(first_line)
    stdin.channel.shutdown_write()
    output = stdout.read().decode("utf-8", "replace")
    return stdout.channel.recv_exit_status(), output


def stream(host: HostSpec, login: Login | None, command: str) -> Iterator[bytes]:
    """What a command prints, as it comes.

    Raises:
        SSHException, EOFError, OSError: if the connection breaks.
    """
    command, first_line = as_declared(host, login, command)
    if login is None:
        with subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None  # noqa: S101 - pipes, see above
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(first_line.encode())
            process.stdin.close()
            yield from iter(process.stdout.readline, b"")
        return
    stdin, stdout, _ = login.ssh.exec_command(command)
    stdin.write(first_line)
    stdin.channel.shutdown_write()
    # its own file would want UTF-8, which programs need not print
    yield from Output(stdout.channel, "rb")


def as_declared(host: HostSpec, login: Login | None, command: str) -> tuple[str, str]:
    """A command with sudo where that is declared, and the line that it reads first then."""
    if not host.sudo:
        return command, ""
    if login is not None:
        wants_password = login.sudo_wants_password
    else:
        wants_password = subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode != 0
    return with_sudo(host, command, wants_password=wants_password)
