"""What Python runs before Open WebUI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.render import TEMPLATES

SQLALCHEMY = """
class Engine:
    def __init__(self, url, hide_parameters=False):
        self.url, self.hide_parameters = url, hide_parameters

def fail(engine, **given):
    shown = "hidden" if engine.hide_parameters else given
    return f"(psycopg.OperationalError) the connection is closed [parameters: {shown}]"
"""
PROGRAM = """
from sqlalchemy.engine import Engine, fail
print(fail(Engine("postgresql://db"), chat="what somebody wrote"))
print(Engine("a").url, Engine.__init__.__name__)
"""


def run(program: str, *places: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (TEMPLATES / "open-webui", *places)))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Something like SQLAlchemy: engines, and errors that quote what a statement was given."""
    (tmp_path / "sqlalchemy").mkdir()
    (tmp_path / "sqlalchemy" / "__init__.py").touch()
    (tmp_path / "sqlalchemy" / "engine.py").write_text(SQLALCHEMY)
    return tmp_path


def test_errors_of_the_database_show_no_chat(library: Path) -> None:
    found = run(PROGRAM, library)
    assert found.stdout.splitlines() == [
        "(psycopg.OperationalError) the connection is closed [parameters: hidden]",
        "a __init__",
    ]
    assert found.stderr == ""


def test_a_python_without_sqlalchemy_starts_as_before() -> None:
    found = run("print(1)")
    assert (found.stdout, found.stderr) == ("1\n", "")
