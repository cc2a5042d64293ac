"""Keys of OpenPGP that tests make and sign with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def gpg(home: Path, *arguments: str, stdin: str = "") -> str:
    """What gpg prints; the agent that it starts does not go on running."""
    environment = os.environ | {"GNUPGHOME": str(home)}
    command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", *arguments]
    try:
        finished = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True
        )
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
