"""Running the command as an operator does."""

import os
import subprocess
import sys
from typing import Literal

ENTRY = "from deploy.cli.main import main; main()"


def run(*arguments: str, stream: Literal["stdout", "stderr"] = "stdout", status: int = 0) -> str:
    """What ``atelier`` prints in 80 columns, when it ends as expected."""
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert done.returncode == status, done.stderr
    return done.stdout if stream == "stdout" else done.stderr
