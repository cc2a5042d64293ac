"""What a provider of logins and a directory answer a host."""

from __future__ import annotations

import json
import shlex

from pyinfra.api import FactBase

from deploy.hosts.login_checks import LoginAnswers
from deploy.scripts import read_script

SCRIPT = "ask_logins.py"
NEEDS = "from __future__ import annotations"
"""What Python 3.6 does not know, which RHEL 8 and those like it have."""


class Logins(FactBase[LoginAnswers]):
    """Both answers; the question, with the password in it, is on standard input."""

    def command(self) -> str:
        """Print the answers; nothing where there is no Python to ask with, or one before 3.7."""
        program = shlex.quote(read_script(SCRIPT))
        return f"if python3 -c '{NEEDS}' 2>/dev/null; then python3 -c {program}; fi"

    @staticmethod
    def default() -> LoginAnswers:
        """Nobody was asked."""
        return LoginAnswers()

    def process(self, output: list[str]) -> LoginAnswers:
        """Parse them."""
        answers = json.loads("\n".join(output))
        return LoginAnswers(oidc=answers.get("oidc"), ldap=answers.get("ldap"))
