"""A command on a host that reads a large file of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import paramiko
from paramiko import SSHException
from pyinfra.api import StringCommand
from pyinfra.api.host import Host

from deploy.hosts.ssh_shell import Output, frame_merged
from deploy.pyinfra_connection import way_to_run

CHUNK_BYTES = 256 * 1024
STALLED_SECONDS = 120
"""A connection that takes nothing for so long is given up."""
WORKING_SECONDS = 4 * 3600
"""So long may the command work on what it was sent."""

Sent = Callable[[int], None]
"""Told how many more bytes went out."""


def run_reading(
    host: Host,
    command: StringCommand,
    arguments: dict[str, Any],
    source: tuple[Path, int],
    sent: Sent,
) -> tuple[int, str]:
    """Run a command that reads a file from an offset on.

    pyinfra's own standard input is text, kept in memory as a whole.

    Args:
        host: where it runs.
        command: the command.
        arguments: how pyinfra runs commands there, e.g. with sudo.
        source: path of the file, and the offset.
        sent: told of every chunk.

    Returns:
        Its exit status, and what it printed.

    Raises:
        SSHException, EOFError, OSError: if the connection breaks.
    """
    path, offset = source
    way = way_to_run(host, command, arguments)
    if way is None:
        succeeded, output = host.run_shell_command(command, **arguments)
        return 0 if succeeded else 1, output.output
    with path.open("rb") as file:
        file.seek(offset)
        if way.client is None:
            return _here(way.text, file, sent)
        return _over_ssh(way.client, way.text, file, sent)


def _over_ssh(
    client: paramiko.SSHClient, command: str, file: BinaryIO, sent: Sent
) -> tuple[int, str]:
    transport = client.get_transport()
    if transport is None:
        raise SSHException("the connection was closed")
    channel = transport.open_session(timeout=STALLED_SECONDS)
    channel.settimeout(STALLED_SECONDS)
    channel.exec_command(frame_merged(command))
    try:
        while chunk := file.read(CHUNK_BYTES):
            channel.sendall(chunk)
            sent(len(chunk))
        channel.shutdown_write()
    except OSError:
        # a command that ended before it had read everything says why
        if not (transport.is_active() and channel.exit_status_ready()):
            raise
    channel.settimeout(WORKING_SECONDS)
    output = Output(channel, "rb").read()
    status = channel.recv_exit_status()
    channel.close()
    if status == -1:
        raise SSHException("the connection was closed")
    return status, output.decode("utf-8", "replace").strip()


def _here(command: str, file: BinaryIO, sent: Sent) -> tuple[int, str]:
    with subprocess.Popen(
        ["sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None  # noqa: S101 - pipes, see above
        assert process.stdout is not None  # noqa: S101
        try:
            while chunk := file.read(CHUNK_BYTES):
                process.stdin.write(chunk)
                sent(len(chunk))
            process.stdin.close()
        except BrokenPipeError:
            pass
        output = process.stdout.read()
    return process.returncode, output.decode("utf-8", "replace").strip()
