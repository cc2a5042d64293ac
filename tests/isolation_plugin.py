"""Isolates the whole run, before anything is imported that reads the environment."""

from __future__ import annotations

import os
import shutil
import tempfile

from tests.isolation import UMASK, isolated

_home = tempfile.mkdtemp(prefix="atelier-test-home-")
_kept = isolated(os.environ, _home)
os.environ.clear()
os.environ.update(_kept)
os.umask(UMASK)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_home, ignore_errors=True)
