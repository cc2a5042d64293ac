"""HAProxy that reads its files again when they have changed, while requests go on.

Management: https://docs.haproxy.org/3.0/management.html#4
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from deploy.render import TEMPLATES
from deploy.services.host_files import NEW, WATCHED, Watch

PROGRAM = "watch.sh"
CONFIG_FILE = "haproxy.cfg"
TAKEN = PurePosixPath("/tmp/taken")  # noqa: S108 - inside the container
LOOKS = 600
"""How often it is looked whether files are taken, five times a second."""
LONGEST_ANSWER_SECONDS = 3600
"""How long answers may go on when the files have changed."""


HEARS = "! grep -q '^ *[0-9]*: 00000000:[0-9A-F]* 00000000:0000 0A ' /proc/net/tcp"
"""A shell command that fails where HAProxy listens in its own network, which no one reaches: it was
not given sockets (https://docs.kernel.org/networking/proc_net_tcp.html, 0A is LISTEN)."""


def command(config: PurePosixPath, stop_seconds: int, listener: PurePosixPath) -> tuple[str, ...]:
    """What ``sh`` runs in a container with such files.

    Args:
        config: where the directories of the files are in the container.
        stop_seconds: how long answers may go on when it stops.
        listener: where HAProxy is given the sockets that it listens on.
    """
    program = (TEMPLATES / "haproxy" / PROGRAM).read_text("utf-8")
    return ("-c", program, PROGRAM, str(config / WATCHED), str(stop_seconds), str(listener))


def watch(
    config: PurePosixPath,
    program: Sequence[str] = ("haproxy",),
    taken: PurePosixPath = TAKEN,
) -> Watch:
    """How it is asked whether it would take new files, and whether it has taken those there are.

    Files name each other by names alone, so that they can be tried where they are not used yet.

    Args:
        config: where the directories of the files are, as HAProxy sees them.
        program: HAProxy, as the check runs it.
        taken: a file that is as old as the directory whose files it goes by.
    """
    waits = f"[ {config / WATCHED} -nt {taken} ]"
    wait = f"n=0; while {waits} && [ $((n += 1)) -le {LOOKS} ]; do sleep 0.2; done; ! {waits}"
    return Watch(
        check=(*program, "-c", "-C", str(config / NEW), "-f", CONFIG_FILE),
        wait=("sh", "-c", wait),
    )
