"""sudo on a host, before anything else is done there."""

from __future__ import annotations

import base64
from collections import defaultdict
from threading import Lock

from pyinfra import host
from pyinfra.api import StringCommand

from deploy.errors import HostError, Problem
from deploy.hosts.sudo import (
    QUIETLY,
    TRY_SUDO,
    ask_password,
    forget_password,
    is_typed,
    wrong_password,
)
from deploy.pyinfra_connection import SUDO_SAID, give_sudo, has_sudo

ATTEMPTS = 3
LETS_IN = "atelier_sudo_lets_in"
"""What is kept of a host where sudo wants no password."""
ASKPASS = """
umask 077; script=$(cat)
for d in "/run/user/$(id -u)" /dev/shm "${TMPDIR:-/tmp}" "$HOME"; do
  [ -w "$d" ] || continue
  f=$(mktemp "$d/atelier-XXXXXXXX") || continue
  printf '%s\\n' "$script" >"$f"
  chmod 700 "$f"
  if "$f" >/dev/null 2>&1; then echo "$f"; exit 0; fi
  rm -f "$f"
done
exit 1
""".strip()
"""In memory where the system has a place there that programs may run from; for this user alone."""

_unlocking: defaultdict[str, Lock] = defaultdict(Lock)


def unlock() -> None:
    """Make sure that sudo lets this user in, with a password where it wants one.

    pyinfra would put the password into the environment of every command, which everybody on the
    host can read while the shell that sets it runs. So it is given a program that knows it: a file
    for the user alone, which pyinfra removes when it disconnects.

    Raises:
        HostError: if sudo does not let the user in.
    """
    # the host's own turn, and the check of all hosts that another one began
    with _unlocking[host.name]:
        if has_sudo(host) or host.connector_data.get(LETS_IN):
            return
        begun = host.connector_data.get(SUDO_SAID)
        succeeded, output = (begun and begun.get()) or _run(TRY_SUDO)
        if succeeded:
            host.connector_data[LETS_IN] = True
            return
        if "password is required" not in output and "authentication is required" not in output:
            raise HostError(wrong_password(host.name, output))
        _give(_ask())


def _ask() -> str:
    for _ in range(ATTEMPTS if is_typed() else 1):
        password = ask_password(host.name)
        succeeded, output = _run(QUIETLY.format("sudo -k -S -p '' true"), stdin=password)
        if succeeded:
            return password
        forget_password()
    raise HostError(wrong_password(host.name, output))


def _give(password: str) -> None:
    encoded = base64.b64encode(f"{password}\n".encode()).decode()
    script = f"#!/bin/sh\nbase64 -d <<'end'\n{encoded}\nend\n"
    succeeded, path = _run(ASKPASS, stdin=script)
    if not succeeded:
        raise HostError(
            Problem(
                f"host {host.name}",
                "there is no directory that this user may run a program from",
                fix="let this user use sudo without a password, or mount /tmp without noexec",
            )
        )
    give_sudo(host, path.strip())


def _run(command: str, stdin: str = "") -> tuple[bool, str]:
    """Run a command as the user who logged in."""
    succeeded, output = host.run_shell_command(StringCommand(command), _stdin=stdin or None)
    return succeeded, output.output.strip()
