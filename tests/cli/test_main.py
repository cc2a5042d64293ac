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
    (["gpus", "--min-memory", "much"], "Invalid value for '--min-memory': it must be a number"),
    (
        ["size", "x", "--gpus", "l4", "--users", "1.5"],
        "Invalid value for '--users': it must be a whole number",
    ),
    (["models", "--rolle", "chat"], "No such option: --rolle"),
    (["modells"], "No such command 'modells'."),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_usage_errors_are_explained_without_a_traceback(arguments: list[str], message: str) -> None:
    error = " ".join(run(*arguments, stream="stderr", status=2).split())
    assert error.startswith(f"error: {message}")
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [[], ["--dry"], ["a.py", "b.py"]])
def test_a_check_that_is_called_wrongly_is_no_pending_change(arguments: list[str]) -> None:
    assert run("check", *arguments, stream="stderr", status=1).startswith("error: ")


def test_with_json_a_usage_error_is_an_object() -> None:
    error = json.loads(run("gpus", "--vendor", "intel", "--json", status=1))
    assert error == {"error": USAGE[0][1], "problems": []}


def test_the_installed_command() -> None:
    command = Path(sys.executable).parent / "atelier"
    done = subprocess.run([command, "modells"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such command 'modells'.")


def test_a_caller_may_have_closed_what_the_command_writes_to() -> None:
    code = "import sys; sys.stdout = sys.stderr = None; from deploy.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "gpus"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_caller_may_have_closed_what_the_command_asks_at(tmp_path: Path) -> None:
    inventory = tmp_path / "lab.py"
    text = Path("inventories/individual.py").read_text()
    inventory.write_text(text.replace("workstation.lab.example", "lab.invalid"))
    code = "from deploy.cli.main import main; main()"
    command = [sys.executable, "-c", code, "doctor", str(inventory)]
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "lab.invalid" in done.stdout


def test_what_the_system_refuses_is_explained_without_a_traceback(tmp_path: Path) -> None:
    size = ["size", f"{tmp_path}/{'long' * 100}.json", "--gpus", "l40s"]
    error = run(*size, stream="stderr", status=1)
    assert error == f"error: {size[1]}: File name too long\n"


def test_a_page_that_cannot_be_written_is_told_before_anything_is_sized(tmp_path: Path) -> None:
    page = tmp_path / "nowhere" / "page.html"
    error = run("size", "no-model", "--gpus", "l4", "--plot", str(page), stream="stderr", status=2)
    assert f"'--plot': {page} cannot be written: name a file in a folder of yours" in error


def test_who_reads_may_stop_reading() -> None:
    code = (
        "from unittest.mock import patch; from deploy.cli import main\n"
        "with patch.object(main, 'app', side_effect=BrokenPipeError): main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "schema"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_user_without_a_name_has_a_home_directory() -> None:
    code = (
        "import os, pwd; os.environ.pop('HOME', None); pwd.getpwuid = lambda _: {}[0];"
        " import deploy; from pathlib import Path; print(Path.home())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "/\n"


def test_bytecode_is_kept_although_pyinfra_keeps_none() -> None:
    code = "import sys; sys.dont_write_bytecode = True; from deploy import Host; "
    subprocess.run([sys.executable, "-c", code + "assert not sys.dont_write_bytecode"], check=True)


def test_python_looks_for_no_garbage_when_it_ends() -> None:
    # what is registered first is called last
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count())); import deploy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 1000
