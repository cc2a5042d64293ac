"""A process on a host that lives no longer than this run: it ends with its standard input."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from typing import Any, Protocol

import paramiko
from pyinfra.api import StringCommand
from pyinfra.api.host import Host

from deploy.hosts.ssh_shell import Output, frame_merged
from deploy.pyinfra_connection import way_to_run

ANSWER_SECONDS = 60
END_SECONDS = 10


class Attached(Protocol):
    """A process that reads what it is sent."""

    def send(self, line: str) -> None:
        """Send a line to its standard input."""

    def answer(self, beginning: str) -> str:
        """The first line that it prints and that begins so; else everything that it printed."""

    def is_alive(self) -> bool:
        """Whether it still runs, as far as this machine knows: no one is asked."""

    def end(self) -> None:
        """Close its standard input and wait until it has ended."""


def attach(host: Host, command: StringCommand, arguments: dict[str, Any]) -> Attached:
    """Start a process.

    Args:
        host: where it runs.
        command: the command.
        arguments: how pyinfra runs commands there, e.g. with sudo.

    Raises:
        SSHException, EOFError, OSError: if the connection breaks.
    """
    way = way_to_run(host, command, arguments)
    if way is None:
        return _Pretended(host, command, arguments)
    return _OverSsh(way.client, way.text) if way.client else _Here(way.text)


class _OverSsh:
    def __init__(self, client: paramiko.SSHClient, command: str) -> None:
        transport = client.get_transport()
        if transport is None:
            raise paramiko.SSHException("the connection was closed")
        self._channel = transport.open_session(timeout=ANSWER_SECONDS)
        self._channel.settimeout(ANSWER_SECONDS)
        self._channel.exec_command(frame_merged(command))
        self._output = Output(self._channel, "rb")

    def send(self, line: str) -> None:
        self._channel.sendall(f"{line}\n".encode())

    def answer(self, beginning: str) -> str:
        return _first(iter(self._output.readline, b""), beginning)

    def is_alive(self) -> bool:
        return not (self._channel.closed or self._channel.exit_status_ready())

    def end(self) -> None:
        self._channel.shutdown_write()
        if self._channel.status_event.wait(END_SECONDS):
            self._channel.close()


class _Here:
    def __init__(self, command: str) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C at the terminal is for this run, which then ends it
            start_new_session=True,
        )

    def send(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe, see above
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def answer(self, beginning: str) -> str:
        assert self._process.stdout is not None  # noqa: S101
        return _first(iter(self._process.stdout.readline, b""), beginning)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.communicate(timeout=END_SECONDS)


class _Pretended:
    """On a host of pyinfra's ``@fake``, whose commands read nothing."""

    def __init__(self, host: Host, command: StringCommand, arguments: dict[str, Any]) -> None:
        _, self._output = host.run_shell_command(command, **arguments)

    def send(self, line: str) -> None:
        pass

    def answer(self, beginning: str) -> str:
        return _first(iter(self._output.stdout.encode().splitlines(keepends=True)), beginning)

    def is_alive(self) -> bool:
        return True

    def end(self) -> None:
        pass


def _first(lines: Iterable[bytes], beginning: str) -> str:
    said = ""
    for line in lines:
        text = line.decode("utf-8", "replace")
        if text.startswith(beginning):
            return str(text)
        said += text
    return said
