"""How RabbitMQ is started: the script, with a program in its place that says what it was left."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from deploy.render import TEMPLATES, render

START = (TEMPLATES / "rabbitmq" / "start.sh").read_text("utf-8")
MOST = "MOST_FILES=65536\n"


def started(home: Path, files: int, most: int) -> str:
    """What the server is started with.

    Args:
        home: of the server.
        files: how many open files Docker allows.
        most: what the script takes of them; the test may not be allowed as many as it has.
    """
    server = home / "rabbitmq-server"
    server.write_text('#!/bin/sh\necho "$(ulimit -n) $(umask)"\nls "$HOME"\n')
    server.chmod(0o755)
    assert MOST in START
    return subprocess.run(
        ["sh", "-c", START.replace(MOST, f"MOST_FILES={most}\n")],
        env={"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.parametrize(("files", "found"), [(900, "600"), (600, "600"), (300, "300")])
def test_it_opens_no_more_files_than_it_starts_well_with(
    tmp_path: Path, files: int, found: str
) -> None:
    assert started(tmp_path, files, 600).split()[0] == found


def test_it_begins_empty(tmp_path: Path) -> None:
    (tmp_path / "mnesia" / "rabbit@localhost").mkdir(parents=True)
    (tmp_path / ".erlang.cookie").write_text("kept")
    assert started(tmp_path, 300, 600).split()[1:] == ["0077", "rabbitmq-server"]
    assert (tmp_path / ".erlang.cookie").read_text() == "kept"


def test_its_settings_are_a_key_and_a_value_a_line() -> None:
    """The format: https://www.rabbitmq.com/docs/configure#config-file-formats"""
    text = render("rabbitmq/rabbitmq.conf.j2", port=5672, management_port=15672, memory_mib=256)
    rows = [line for line in text.splitlines() if line and not line.startswith("#")]
    settings = dict(row.split(" = ") for row in rows)
    assert settings["listeners.tcp.default"] == "5672"
    assert settings["management.tcp.port"] == "15672"
    assert settings["vm_memory_high_watermark.absolute"] == "256MiB"
