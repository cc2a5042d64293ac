"""What is said of connections that fail, and passwords of sudo."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.connection_errors import Explain
from deploy.errors import HostError
from deploy.hosts import sudo
from deploy.hosts.finding import FINDINGS_FILE
from deploy.inventory import pyinfra_hosts
from deploy.operations.sudo import ASKPASS
from tests.conftest import declare


def test_what_pyinfra_is_told_of_a_host(tmp_path: Path) -> None:
    hosts: list[dict[str, Any]] = [{"name": "gpu1", "ssh_jump": "bastion"}, {"name": "@local"}]
    declared = dict(pyinfra_hosts(declare(hosts=hosts), str(tmp_path / "x.py")))
    assert set(declared["gpu1"]) == {"atelier"}
    assert set(declared["@local"]) == {"atelier"}


@pytest.mark.parametrize("prefix", ["[gpu1] ", "    [gpu1] ", "[\x1b[1mgpu1\x1b[0m] "])
def test_a_failed_connection_is_explained_and_kept(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FINDINGS_FILE, str(tmp_path / "findings"))
    message = f"{prefix}\x1b[31mCould not connect (timed out)\x1b[0m"
    record = logging.makeLogRecord({"msg": message})
    assert Explain(declare(hosts=[{"name": "gpu1"}])).filter(record)
    assert record.msg.startswith(message)
    assert "[gpu1] fix: gpu1 is switched off, or a firewall blocks the way" in record.msg
    [finding] = [json.loads(line) for line in (tmp_path / "findings").read_text().splitlines()]
    assert (finding["host"], finding["found"]) == ("gpu1", "Could not connect (timed out)")


@pytest.mark.parametrize("message", ["[gpu1] Connected", "[gpu2] Could not connect (x)", "", 3])
def test_everything_else_that_is_logged_stays(message: Any) -> None:
    record = logging.makeLogRecord({"msg": message})
    assert Explain(declare(hosts=[{"name": "gpu1"}])).filter(record)
    assert record.msg == message


def test_the_sudo_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD_VARIABLE, "x y")
    assert sudo.ask_password("gpu1") == "x y"
    assert not sudo.is_typed()


def test_the_sudo_password_is_typed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sudo.PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["first", "second"])
    monkeypatch.setattr(sudo, "getpass", lambda _prompt: next(answers))
    assert [sudo.ask_password("gpu1"), sudo.ask_password("gpu2")] == ["first", "first"]
    sudo.forget_password()
    assert sudo.ask_password("gpu1") == "second"
    sudo.forget_password()


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sudo.PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(HostError, match="there is no terminal to ask for it"):
        sudo.ask_password("gpu1")


def test_sudo_that_wants_a_terminal() -> None:
    said = "it says: sudo: sorry, you must have a tty to run sudo"
    assert "Defaults !requiretty" in sudo.wrong_password("gpu1", said).fix
    assert "check the password" in sudo.wrong_password("gpu1", "it says: Sorry, try again.").fix


def test_a_login_that_runs_no_commands() -> None:
    """As of a user whose password has expired: sudo has not been asked."""
    problem = sudo.wrong_password("gpu1", "Password change required but no TTY available.")
    assert problem.found.endswith("runs there: Password change required but no TTY available.")
    assert "chage -l" in problem.fix


def test_a_host_without_sudo() -> None:
    said = "it says: sh: 1: sudo: not found"
    assert "install sudo there, or log in as root" in sudo.wrong_password("gpu1", said).fix


def test_the_program_that_knows_the_password(tmp_path: Path) -> None:
    """It really runs, and is for its owner alone."""
    script = "#!/bin/sh\nbase64 -d <<'end'\neCB5Cg==\nend\n"
    made = subprocess.run(
        ["sh", "-c", ASKPASS], input=script, capture_output=True, text=True, check=True
    )
    path = Path(made.stdout.strip())
    try:
        assert path.stat().st_mode & 0o777 == 0o700
        assert subprocess.run([path], capture_output=True, text=True).stdout == "x y\n"
    finally:
        path.unlink()
