"""Inventories that pyinfra cannot read: what an operator sees, and that the run is no success."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warm import ROOT, run_warm

GOOD = """
from deploy import Deployment, Host, Model, pyinfra_hosts
deployment = Deployment(name="x", hosts=[Host(name="@fake/h1")], models=[Model(name="tiny-coder")])
hosts = pyinfra_hosts(deployment, __file__)
"""
BAD: dict[str, tuple[str | bytes, str]] = {
    "nothing.py": (
        "",
        "nothing.py: 0 deployments\n    allowed: one\n"
        "    fix: end the file with: hosts = pyinfra_hosts(deployment, __file__)",
    ),
    "typo.py": (
        GOOD.replace("Host(", "Hst("),
        "typo.py, line 3: NameError: name 'Hst' is not defined\n"
        "    fix: correct the inventory file",
    ),
    "syntax.py": (
        GOOD + "hosts = (\n",
        "syntax.py, line 5: SyntaxError: '(' was never closed\n    fix: correct the inventory file",
    ),
    "argument.py": (
        GOOD.replace(", __file__", ""),
        "argument.py, line 4: TypeError: pyinfra_hosts() missing 1 required positional argument:"
        " 'inventory_file'\n    fix: correct the inventory file",
    ),
    "bytes.py": (
        b"x = '\xff'\n",
        "bytes.py: cannot be read: not UTF-8 text\n    allowed: a Python file",
    ),
    "lab.yaml": (
        "name: lab\n",
        "lab.yaml: an inventory in YAML, which pyinfra does not read\n"
        "    allowed: an inventory in Python",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_an_inventory_that_cannot_be_read_is_no_success(name: str, tmp_path: Path) -> None:
    text, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    ran = run_warm("pyinfra", str(path), "deploy.py", "--dry")
    assert ran.returncode == 1
    assert f"{tmp_path}/{message}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Connecting to hosts" not in ran.stderr


ALLOWED = "\n    allowed: a file, e.g. inventories/demo.py"
NO_FILES = {
    "prod.py": "no such file",
    "folder": f"a directory{ALLOWED}",
    "pipe": f"a pipe{ALLOWED}",
    "pipe.py": f"a pipe{ALLOWED}",
    "socket": f"a socket{ALLOWED}",
    "device": f"a device{ALLOWED}",
    "p" * 300 + ".py": f"cannot be read: File name too long{ALLOWED}",
}


@pytest.fixture
def no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is no file, in the current directory: pyinfra takes names without a slash for hosts."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    os.mkfifo("pipe.py")
    Path("device").symlink_to("/dev/null")
    Path("config.py").symlink_to(ROOT / "config.py")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        yield


@pytest.mark.parametrize("program", ["pyinfra", "atelier"])
@pytest.mark.parametrize("name", NO_FILES)
def test_a_path_without_an_inventory_is_no_success(name: str, program: str, no_files: None) -> None:
    words = (name, str(ROOT / "deploy.py"), "-y") if program == "pyinfra" else ("plan", name)
    ran = run_warm(program, *words, directory=Path.cwd())
    assert ran.returncode == 1
    assert f"{name}: {NO_FILES[name]}\n    fix: give the path of an inventory file" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_mistake_in_a_file_that_the_inventory_uses_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "people.py").write_text("PEOPLE = []\nPEOPLE[0]\n")
    uses = f"import sys; sys.path.append({str(tmp_path)!r}); import people\n"
    (tmp_path / "site.py").write_text(uses + GOOD)
    ran = run_warm("pyinfra", str(tmp_path / "site.py"), "deploy.py", "--dry")
    assert ran.returncode == 1
    assert (
        f"{tmp_path}/people.py, line 2: IndexError: list index out of range\n"
        "    fix: correct people.py, which it uses"
    ) in ran.stderr


def test_an_inventory_of_other_hosts_is_left_alone(tmp_path: Path) -> None:
    ran = run_warm("pyinfra", "@fake/one,@fake/two", "debug-inventory")
    assert ran.returncode == 0, ran.stderr
