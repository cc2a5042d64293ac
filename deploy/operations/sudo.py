"""sudo on a host, before anything else is done there."""

from __future__ import annotations

import base64

from pyinfra import host
from pyinfra.api import StringCommand

from deploy.errors import HostError
from deploy.hosts.sudo import ask_password, forget_password, wrong_password

ATTEMPTS = 3
ASKPASS = "umask 077; d=/dev/shm; [ -w $d ] || d=${TMPDIR:-/tmp}; f=$(mktemp $d/atelier-XXXXXXXX); "
"""In memory where the system has a place for it; for this user alone."""


def unlock() -> None:
    """Make sure that sudo lets this user in, with a password where it wants one.

    pyinfra would put the password into the environment of every command, which everybody on the
    host can read while the shell that sets it runs. So it is given a program that knows it: a file
    for the user alone, which pyinfra removes when it disconnects.

    Raises:
        HostError: if sudo does not let the user in.
    """
    if "prompted_sudo_password" in host.connector_data:
        return
    succeeded, output = _run("sudo -n true")
    if succeeded:
        return
    if "password is required" not in output and "authentication is required" not in output:
        raise HostError(wrong_password(host.name, output))
    _give(_ask())


def _ask() -> str:
    for _ in range(ATTEMPTS):
        password = ask_password(host.name)
        succeeded, output = _run("sudo -k -S -p '' true", stdin=password)
        if succeeded:
            return password
        forget_password()
    raise HostError(wrong_password(host.name, output))


def _give(password: str) -> None:
    encoded = base64.b64encode(f"{password}\n".encode()).decode()
    script = f"#!/bin/sh\nbase64 -d <<'end'\n{encoded}\nend\n"
    succeeded, path = _run(f'{ASKPASS}cat > "$f" && chmod 700 "$f" && echo "$f"', stdin=script)
    if not succeeded:
        raise HostError(wrong_password(host.name, path))
    # where pyinfra looks for the program and for whether there is a password at all
    host.connector_data[f"sudo_askpass_path__{host.get_temp_dir_config()}"] = path.strip()
    host.connector_data["prompted_sudo_password"] = "given to sudo by a program"  # noqa: S105


def _run(command: str, stdin: str = "") -> tuple[bool, str]:
    """Run a command as the user who logged in."""
    succeeded, output = host.run_shell_command(StringCommand(command), _stdin=stdin or None)
    return succeeded, output.output.strip()
