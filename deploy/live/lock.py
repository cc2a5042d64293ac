"""The lock of a deployment on a host: looked at, or taken from a run that is gone."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import ExitStack

import paramiko
from paramiko import SSHException

from deploy.errors import ConnectionFailedError, HostError, Problem
from deploy.hosts.connection import explain
from deploy.live.connection import log_in, with_sudo
from deploy.lock import LockState, parse_lock
from deploy.scripts import read_script
from deploy.spec import HostSpec

SCRIPT = "lock.sh"
TIMEOUT_SECONDS = 60


def read_lock(host: HostSpec, deployment: str) -> LockState:
    """Who has the lock of a deployment, or had it last.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
        HostError: if it does not say.
    """
    return _ask(host, deployment, "status")


def release_lock(host: HostSpec, deployment: str, pid: int) -> LockState:
    """End the process on the host that holds the lock, if it still does.

    Args:
        host: the host.
        deployment: name of the deployment.
        pid: the process that was seen to hold it.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
        HostError: if that process does not hold it, or belongs to another user.
    """
    return _ask(host, deployment, "release", str(pid))


def _ask(host: HostSpec, deployment: str, action: str, *more: str) -> LockState:
    directory = str(host.deployment_directory(deployment))
    script = read_script(SCRIPT)
    command = shlex.join(["sh", "-c", script, "atelier", action, directory, *more])
    try:
        status, output = _here(host, command) if host.is_local else _over_ssh(host, command)
    except (SSHException, OSError) as error:
        found = f"cannot be reached over SSH: {error}"
        fix = explain(str(error), host)
        raise ConnectionFailedError(Problem(f"host {host.name}", found, fix=fix)) from None
    if status:
        fix = (
            "see who has it now: atelier lock status INVENTORY; the process of another user is "
            "ended by that user or by root (sudo=True for this host)"
        )
        raise HostError(Problem(f"host {host.name}", f"lock: {output.strip()}", fix=fix))
    return parse_lock(output)


def _here(host: HostSpec, command: str) -> tuple[int, str]:
    first_line = ""
    if host.sudo:
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True)
        command, first_line = with_sudo(host, command, wants_password=asked.returncode != 0)
    finished = subprocess.run(
        ["sh", "-c", command],
        input=first_line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    return finished.returncode, finished.stdout


def _over_ssh(host: HostSpec, command: str) -> tuple[int, str]:
    first_line = ""
    with ExitStack() as stack:
        login = log_in(host, stack)
        if host.sudo:
            command, first_line = with_sudo(host, command, wants_password=login.sudo_wants_password)
        return _run(login.ssh, command, first_line)


def _run(ssh: paramiko.SSHClient, command: str, first_line: str) -> tuple[int, str]:
    merged = f"exec 2>&1\n{command}"
    stdin, stdout, _ = ssh.exec_command(merged, timeout=TIMEOUT_SECONDS)
    stdin.write(first_line)
    stdin.channel.shutdown_write()
    output = stdout.read().decode("utf-8", "replace")
    return stdout.channel.recv_exit_status(), output
