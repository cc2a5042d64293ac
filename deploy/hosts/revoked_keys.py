"""Keys that no host may have any more (RevokedHostKeys), in both forms that OpenSSH reads."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import paramiko
from paramiko.message import Message

TIMEOUT_SECONDS = 30
KRL = b"SSHKRL\n\0"
"""https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.krl"""


def is_revoked(keys: Iterable[bytes], path: str) -> bool:
    """Whether one of some keys, as they are sent, is in a file.

    Raises:
        SSHException: if the file cannot be read: OpenSSH accepts no host then, either.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise paramiko.SSHException(f"RevokedHostKeys {path}: {error.strerror}") from None
    encoded = {key: base64.b64encode(key) for key in keys}
    if not text.startswith(KRL):
        return not {*encoded.values()}.isdisjoint(text.split())
    with TemporaryDirectory() as directory:
        for number, (key, shown) in enumerate(encoded.items()):
            line = f"{Message(key).get_text()} {shown.decode()}\n"
            (Path(directory) / str(number)).write_text(line)
        return _is_listed(path, sorted(Path(directory).iterdir()))


def _is_listed(path: str, files: list[Path]) -> bool:
    """Whether a key in one of some files is in a list of OpenSSH's own form."""
    asked = subprocess.run(
        ["ssh-keygen", "-Q", "-f", path, *map(str, files)],
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
    )
    return asked.returncode != 0
