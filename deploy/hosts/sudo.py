"""The password that sudo asks for: from the environment, or typed once for all hosts."""

from __future__ import annotations

import os
import sys
from getpass import getpass

from deploy.errors import HostError, Problem
from deploy.hosts.ssh_shell import NO_COMMANDS_FIX, runs_nothing

PASSWORD_VARIABLE = "ATELIER_SUDO_PASSWORD"  # noqa: S105 - the name of a variable
QUIETLY = 'said=$(LC_ALL=C {} 2>&1) || {{ echo "it says: $said"; exit 1; }}'
"""With words before what sudo says: at the bare words pyinfra would ask for a password itself."""
SUDO_SAYS = "it says:"
"""Those words: without them, sudo was not asked."""
TRY_SUDO = QUIETLY.format("sudo -n true")
_typed: list[str] = []


def ask_password(host: str) -> str:
    """The password; it is kept in this process's memory and nowhere else.

    Raises:
        HostError: if no one can be asked.
    """
    given = os.environ.get(PASSWORD_VARIABLE)
    if given:
        return given
    if not _typed:
        if not sys.stdin.isatty():
            raise HostError(_nobody_to_ask(host))
        _typed.append(getpass(f"sudo password on {host} (and on all other hosts): "))
    return _typed[0]


def is_typed() -> bool:
    """Whether the password is typed, so that it can be asked for again."""
    return not os.environ.get(PASSWORD_VARIABLE)


def forget_password() -> None:
    """Ask again: the one that was typed is wrong."""
    _typed.clear()


def _nobody_to_ask(host: str) -> Problem:
    return Problem(
        f"host {host}",
        "sudo wants a password there, and there is no terminal to ask for it",
        "sudo without a password, a password typed at a terminal, or one in the environment",
        f"run it in a terminal, set {PASSWORD_VARIABLE}, or allow this user NOPASSWD in sudoers",
    )


def wrong_password(host: str, said: str) -> Problem:
    """What is shown when sudo does not let the user in."""
    if SUDO_SAYS not in said:
        return Problem(f"host {host}", runs_nothing(said), fix=NO_COMMANDS_FIX)
    fix = "check the password, and the host's sudoers file"
    if "must have a tty" in said:
        fix = "let this user run sudo without a terminal: Defaults !requiretty in the sudoers file"
    elif "not found" in said:
        fix = "install sudo there, or log in as root: ssh_user='root' without sudo=True"
    return Problem(
        f"host {host}",
        f"sudo does not let this user in: {said}",
        "a user who may run every command with sudo",
        fix,
    )
