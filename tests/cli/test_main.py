"""How the command ends when it is called wrongly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import run

USAGE = [
    (
        ["gpus", "--vendor", "intel"],
        "Invalid value for '--vendor': 'intel' is not one of 'nvidia', 'amd', 'apple', 'cpu'.",
    ),
    (["gpus", "--min-memory", "much"], "Invalid value for '--min-memory'"),
    (["models", "--rolle", "chat"], "No such option: --rolle"),
    (["modells"], "No such command 'modells'."),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_usage_errors_are_explained_without_a_traceback(arguments: list[str], message: str) -> None:
    error = " ".join(run(*arguments, stream="stderr", status=2).split())
    assert error.startswith(f"error: {message}")
    assert "Traceback" not in error


def test_with_json_a_usage_error_is_an_object() -> None:
    error = json.loads(run("gpus", "--vendor", "intel", "--json", status=1))
    assert error == {"error": USAGE[0][1], "problems": []}


def test_the_installed_command() -> None:
    command = Path(sys.executable).parent / "atelier"
    done = subprocess.run([command, "modells"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such command 'modells'.")


def test_bytecode_is_kept_although_pyinfra_keeps_none() -> None:
    code = "import sys; sys.dont_write_bytecode = True; from deploy import Host; "
    subprocess.run([sys.executable, "-c", code + "assert not sys.dont_write_bytecode"], check=True)


def test_python_looks_for_no_garbage_when_it_ends() -> None:
    # what is registered first is called last
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count())); import deploy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 1000
