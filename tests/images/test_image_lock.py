"""Two processes that need the same image."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from deploy.images.builder import image_lock

WAIT = """
import sys
from deploy.images.builder import image_lock
print("begun", flush=True)
with image_lock(sys.argv[1]):
    print(open(sys.argv[2]).read(), flush=True)
"""


def test_the_second_one_waits_until_the_first_one_is_done(tmp_path: Path) -> None:
    tag, state = f"lab/image:{tmp_path.name}", tmp_path / "state"
    state.write_text("building")
    with image_lock(tag):
        second = subprocess.Popen(
            [sys.executable, "-c", WAIT, tag, str(state)], stdout=subprocess.PIPE, text=True
        )
        assert second.stdout is not None
        assert second.stdout.readline() == "begun\n"
        time.sleep(1)  # in which it would read the state if it did not wait
        state.write_text("built")
    output, _ = second.communicate(timeout=60)
    assert output == "built\n"


def test_images_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with image_lock(f"a:{tmp_path.name}"), image_lock(f"b:{tmp_path.name}"):
        pass
