"""Local sockets that lead through SSH to what only the host reaches."""

from __future__ import annotations

import os
import select
import shlex
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from weakref import WeakSet

import paramiko

from deploy.hosts.ssh import CONNECTION_ERRORS, transport_of
from deploy.hosts.ssh_shell import MARK, frame, skip_to_mark
from deploy.hosts.ssh_transport import reason_of_end
from deploy.scripts import read_script

CHUNK_BYTES = 65536
START_SECONDS = 30
DEEPEST_BYTES = 70
"""Of the directory that a socket's own is in: a path has 103 bytes on macOS, 107 on Linux."""
NOT_ALLOWED = 1
"""What an SSH server answers that forwards no ports."""
Way = tuple[paramiko.Channel, bytes]
"""A channel, and what has been read from it already."""
_forwarding_nothing: WeakSet[paramiko.Transport] = WeakSet()
"""Connections whose server forwards no ports."""
OpenChannel = Callable[[], Way]
Answer = Callable[[socket.socket], None]
"""Talks to a connection until it closes."""


@contextmanager
def open_port(ssh: paramiko.SSHClient, address: str, port: int) -> Iterator[int]:
    """Forward a free port of 127.0.0.1 to ``address:port`` as the SSH server sees it.

    Yields:
        The local port.
    """
    command = shlex.join(["sh", "-c", read_script("reach.sh"), "reach", address, str(port)])

    def open_channel() -> Way:
        transport = transport_of(ssh)
        if transport not in _forwarding_nothing:
            try:
                place, nowhere = (address, port), ("127.0.0.1", 0)
                return transport.open_channel("direct-tcpip", place, nowhere), b""
            except paramiko.ChannelException as error:
                if error.code != NOT_ALLOWED:
                    raise
                _forwarding_nothing.add(transport)
        # AllowTcpForwarding no: a command on the host reaches the port instead
        return _run(ssh, command)

    answer = partial(_answer, open_channel=open_channel)
    with _serve(socket.create_server(("127.0.0.1", 0)), answer) as listening:
        yield int(listening.getsockname()[1])


@contextmanager
def open_command(ssh: paramiko.SSHClient, command: str, first_line: str = "") -> Iterator[Path]:
    """Make a socket file, for this user alone, that talks to a command's standard input and output.

    Args:
        ssh: the connection.
        command: what is run on the host.
        first_line: what it reads before anything else, e.g. sudo a password.

    Yields:
        Path of the socket; each connection to it runs the command anew.
    """

    def open_channel() -> Way:
        return _run(ssh, command, first_line)

    with open_socket(partial(_answer, open_channel=open_channel)) as path:
        yield path


@contextmanager
def open_socket(answer: Answer) -> Iterator[Path]:
    """Make a socket file for this user alone; each connection to it is answered in a thread."""
    with tempfile.TemporaryDirectory(dir=_short_directory()) as directory:
        path = Path(directory) / "socket"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        with _serve(listening, answer):
            yield path


def _short_directory() -> str | None:
    """Where temporary files are kept here, unless TMPDIR names a place too deep for a socket."""
    is_deep = len(os.fsencode(tempfile.gettempdir())) > DEEPEST_BYTES
    return "/tmp" if is_deep else None  # noqa: S108 - a directory in it is made for this user alone


def _run(ssh: paramiko.SSHClient, command: str, first_line: str = "") -> Way:
    channel = transport_of(ssh).open_session(timeout=START_SECONDS)
    channel.settimeout(START_SECONDS)
    channel.exec_command(frame(command))
    if first_line:
        channel.sendall(first_line.encode())
    begun = skip_to_mark(channel)
    channel.settimeout(None)
    return channel, begun


def _answer(local: socket.socket, open_channel: OpenChannel) -> None:
    with local:
        try:
            channel, begun = open_channel()
        except CONNECTION_ERRORS as error:
            with suppress(OSError):
                local.recv(CHUNK_BYTES)
            refuse(local, f"no way there through SSH: {error}")
            return
        # either side may go away before everything has arrived; then closing fails, too
        with suppress(*CONNECTION_ERRORS), channel:
            if begun:
                local.sendall(begun)
            answered, errors = _relay(local, channel)
            if begun or answered:
                return
            if _has_failed(channel):
                refuse(local, errors.rpartition(MARK)[2].decode("utf-8", "replace"))
            elif why := _why_broken(channel):
                refuse(local, f"the SSH connection broke: {why}")


def _has_failed(channel: paramiko.Channel) -> bool:
    return bool(
        (channel.eof_received or channel.closed)
        and channel.status_event.wait(1)
        and channel.exit_status > 0
    )


def _why_broken(channel: paramiko.Channel) -> str:
    """Why the connection of a channel has ended; empty if it has not."""
    transport = channel.get_transport()
    if channel.closed and not channel.eof_received:
        # it ends after its channels
        transport.join(1)
    return "" if transport.is_active() else reason_of_end(transport)


def refuse(local: socket.socket, reason: str) -> None:
    """Answer whoever asks over HTTP, as everybody does here, so that the reason is shown."""
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Length: {len(reason.encode())}\r\n"
    with suppress(OSError):
        local.sendall(f"{head}Content-Type: text/plain\r\n\r\n{reason}".encode())


@contextmanager
def _serve(listening: socket.socket, answer: Answer) -> Iterator[socket.socket]:
    """Answer every connection in a thread of its own, until the context ends."""
    threading.Thread(target=_accept, args=(listening, answer), daemon=True).start()
    with listening:
        try:
            yield listening
        finally:
            # wakes the thread that waits for connections
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, answer: Answer) -> None:
    with suppress(OSError):
        while True:
            local, _ = listening.accept()
            threading.Thread(target=answer, args=(local,), name="answer", daemon=True).start()


def _relay(local: socket.socket, channel: paramiko.Channel) -> tuple[bool, bytes]:
    """Copy both ways until one side closes; whether the host answered, and what errors it said."""
    # select would take no more than a thousand open files
    ends = select.poll()
    ends.register(local, select.POLLIN)
    ends.register(channel, select.POLLIN)
    answered, errors = False, b""
    while True:
        readable = {file for file, _ in ends.poll()}
        if local.fileno() in readable:
            data = local.recv(CHUNK_BYTES)
            if not data:
                return answered, errors
            # a command that has ended says why below
            with suppress(*CONNECTION_ERRORS):
                channel.sendall(data)
        if channel.fileno() in readable:
            # it is readable for errors too, which recv would not return for
            while channel.recv_stderr_ready():
                errors += channel.recv_stderr(CHUNK_BYTES)
            if channel.recv_ready() or channel.eof_received or channel.closed:
                data = channel.recv(CHUNK_BYTES)
                if not data:
                    return answered, errors
                answered = True
                local.sendall(data)
