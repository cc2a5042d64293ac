"""Running the command as an operator does, but in the process of the tests: it starts 30 times."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Literal
from unittest.mock import patch

import pytest

from deploy.cli.main import main


def run(*arguments: str, stream: Literal["stdout", "stderr"] = "stdout", status: int = 0) -> str:
    """What ``atelier`` prints in 80 columns, when it ends as expected."""
    printed, errors = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["atelier", *arguments]),
        redirect_stdout(printed),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert ended.value.code == status, errors.getvalue()
    return (printed if stream == "stdout" else errors).getvalue()
