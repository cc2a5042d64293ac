"""What a provider of logins and a directory answer a host."""

from __future__ import annotations

import json
import shlex

from pyinfra.api import FactBase

from deploy.hosts.login_checks import LoginAnswers
from deploy.scripts import read_script

SCRIPT = "ask_logins.py"
IS_NEW_ENOUGH = "python3 -c 'import sys; sys.exit(sys.version_info < (3, 7))'"
"""RHEL 8 has 3.6."""


class Logins(FactBase[LoginAnswers]):
    """Both answers; the question, with the password in it, is on standard input."""

    def command(self) -> str:
        """Print the answers; nothing where there is no Python to ask with, or one too old."""
        program = shlex.quote(read_script(SCRIPT))
        return f"if {IS_NEW_ENOUGH} 2>/dev/null; then python3 -c {program}; fi"

    @staticmethod
    def default() -> LoginAnswers:
        """Nobody was asked."""
        return LoginAnswers()

    def process(self, output: list[str]) -> LoginAnswers:
        """Parse them."""
        answers = json.loads("\n".join(output))
        return LoginAnswers(oidc=answers.get("oidc"), ldap=answers.get("ldap"))
