"""Tests do not depend on who runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROBE = """
import os, urllib.request
from pathlib import Path

def test_it():
    assert urllib.request.getproxies() == {}
    assert list(Path.home().iterdir()) == []
    assert os.environ["LC_ALL"] == "C.UTF-8" and "SECRET_OF_MINE" not in os.environ
    assert os.environ["PIP_INDEX_URL"] == "https://pypi.lab/simple"
    (Path(__file__).parent / "made").touch()
"""


def test_what_others_have_set_reaches_no_test(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (tmp_path / "test_probe.py").write_text(PROBE)
    hostile = {
        "HOME": str(home),
        "LC_ALL": "tr_TR.UTF-8",
        "SECRET_OF_MINE": "x",
        "PIP_INDEX_URL": "https://pypi.lab/simple",
        **dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    }
    project = Path(__file__).parent.parent
    flags = ["-q", "-p", "no:cacheprovider", "-p", "tests.isolation_plugin", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(tmp_path / "test_probe.py")],
        env=os.environ | hostile,
        cwd=project,
        umask=0o077,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644
