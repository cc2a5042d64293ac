"""The Molecule scenario of a fresh host, as ``make molecule`` runs it."""

from __future__ import annotations

import subprocess

from tests.e2e.names import PROJECT


def test_a_fresh_host_is_deployed_to_twice_and_looked_at() -> None:
    finished = subprocess.run(
        ["make", "--no-print-directory", "molecule"], cwd=PROJECT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
