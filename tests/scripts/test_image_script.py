"""image.sh where the list of images cannot be written any more."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.scripts import read_script

LINES = ["lab/old:1 sha256:1", "lab/new:2 sha256:2"]


@pytest.mark.parametrize(("is_full", "left"), [(False, LINES[1:]), (True, LINES)])
def test_a_full_disk_does_not_lose_the_list(tmp_path: Path, is_full: bool, left: list[str]) -> None:
    """The images may be on another disk than the list, and go."""
    programs, images = tmp_path / "bin", tmp_path / "images.list"
    programs.mkdir()
    images.write_text("\n".join([*LINES, ""]))
    grep = 'echo half\necho "write error: No space left on device" >&2\nexit 2'
    for name, text in {"docker": "exit 1", "grep": grep}.items():
        if name == "docker" or is_full:
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
    for name in ("sh", "grep", "mv", "rm"):
        if not (programs / name).exists():
            (programs / name).symlink_to(str(shutil.which(name)))
    arguments = ["sh", "-c", read_script("image.sh"), "atelier", "remove", str(images)]
    finished = subprocess.run([*arguments, "lab/old:1", "sha256:1"], env={"PATH": str(programs)})
    assert finished.returncode == 0
    assert images.read_text().splitlines() == left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "images.list"]
