"""Commands on a host run in ``sh``, whatever the login shell of its user is and its profile prints.

A command is one line of words in single quotes without newlines, backslashes, dollar signs and
exclamation marks, which every shell passes on unchanged, xonsh, too, and no word is longer than old
shells take. What was printed before ``sh`` began is dropped, up to a mark. None of it costs a round
trip, and standard input is left to the command.
"""

from __future__ import annotations

import string
from collections.abc import Iterator

import paramiko
from paramiko.channel import ChannelFile, ChannelStderrFile

MARK = b"@@sh@@"
LAUNCHER = (
    # the mark does not stand in the command itself, which a shell may print
    "printf %s @@ sh@@; printf %s @@ sh@@ >&2; "
    # % becomes what is between [ and ], a backslash, which cannot stand here either
    'eval "set --; $(printf %b "$('
    'printf %s "$@" | LC_ALL=C tr "[%]" "[-]" || echo exit 127)")"'
)
PLAIN = f"{string.ascii_letters}{string.digits}" + ' _./=:,@+"(){}[]<>|&;*?~#^`-'
OCTAL = {byte: f"%0{byte:03o}" for byte in range(256) if chr(byte) not in PLAIN}
WORD_BYTES = 180
"""Of the command in each word; a byte takes up to five characters there."""
CHUNK_BYTES = 65536
NO_COMMANDS = "no command of this user runs there"
NO_COMMANDS_FIX = (
    "see on the host what the user's login shell is (getent passwd): nologin and restricted shells "
    "such as rbash do not work. See also whether the password has expired (chage -l), and "
    "ForceCommand in sshd_config or command= in authorized_keys"
)


def frame(command: str) -> str:
    """The line that a login shell is given for a command."""
    words = " ".join(f"'{word}'" for word in _words(command))
    return f"exec sh -c '{LAUNCHER}' sh {words}"


def frame_merged(command: str) -> str:
    """The same for a command whose errors are wanted among its output, in order."""
    return frame(f"exec 2>&1\n{command}")


def _words(command: str) -> Iterator[str]:
    text = command.encode().decode("latin-1")
    for start in range(0, len(text), WORD_BYTES):
        yield text[start : start + WORD_BYTES].translate(OCTAL)


class _AfterMark:
    """What comes after the mark; everything if it never comes, as that says why."""

    _has_begun = False

    def _read(self, size: int) -> bytes:
        before = b""
        while not self._has_begun:
            chunk: bytes = super()._read(size)  # type: ignore[misc]
            before += chunk
            _, mark, after = before.partition(MARK)
            self._has_begun = bool(mark) or not chunk
            if after or not chunk:
                return after if mark else before
        rest: bytes = super()._read(size)  # type: ignore[misc]
        return rest


class Output(_AfterMark, ChannelFile):
    """Standard output of a framed command."""


class Errors(_AfterMark, ChannelStderrFile):
    """Standard error of a framed command."""


def runs_nothing(said: str) -> str:
    """That no command runs on a host, and what was printed instead."""
    return f"{NO_COMMANDS}: {' '.join(said.split()) or 'nothing is printed'}"


def skip_to_mark(channel: paramiko.Channel) -> bytes:
    """Wait until the command begins; what has come of its output already.

    Raises:
        SSHException: if it never does, with what was printed instead.
    """
    before = b""
    while MARK not in before:
        chunk = channel.recv(CHUNK_BYTES)
        if not chunk:
            # which have come by now
            errors = channel.recv_stderr(CHUNK_BYTES) if channel.recv_stderr_ready() else b""
            said = (before + errors).decode("utf-8", "replace")
            raise paramiko.SSHException(runs_nothing(said))
        before += chunk
    return before.partition(MARK)[2]
