"""Listens on ports in HAProxy's place, and gives it the sockets, so that HAProxies come and go.

python3 listen.py SOCKET PORT...

Connections wait in the sockets until a HAProxy that has them accepts: this program never does, and
reads nothing of what people send. HAProxy asks at SOCKET when it is started with ``-x SOCKET``
(https://docs.haproxy.org/3.0/management.html#3), as it asks a HAProxy before it in a seamless
reload. The answer is what ``_getsocks`` in HAProxy's src/cli.c writes and ``sock_get_old_sockets``
in its src/sock.c reads, the same in HAProxy 3.0, 3.2 and 3.4: the number of sockets; then the
sockets, with the namespace, the interface and four bytes without meaning of each. Both names are
empty here.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

QUESTION = b"_getsocks\n"
OF_A_SOCKET = bytes(2 + 4)
"""Two lengths of names, and four bytes."""
WAITING = 4096
"""How many connections wait until one accepts; HAProxy and the kernel may make it fewer."""
PATIENCE_SECONDS = 5


def listen(port: int) -> socket.socket:
    """A socket that connections to a port come to."""
    made = socket.socket(socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("0.0.0.0", port))  # noqa: S104 - Docker publishes it on the declared address
    made.listen(WAITING)
    return made


def answer_at(path: Path) -> socket.socket:
    """The socket of this program, for root alone; it is new each time, and newer than before."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    path.chmod(0o600)
    made.listen()
    return made


def give(asker: socket.socket, sockets: Sequence[socket.socket]) -> bool:
    """Give the sockets to who asks for them; whether anyone did."""
    if asker.recv(len(QUESTION), socket.MSG_WAITALL) != QUESTION:
        return False
    asker.sendall(struct.pack("@i", len(sockets)))
    numbers = [each.fileno() for each in sockets]
    socket.send_fds(asker, [OF_A_SOCKET * len(sockets)], numbers)
    # that it has them
    return bool(asker.recv(4))


def main(path: str, *ports: str) -> NoReturn:
    """Listen, and answer whoever asks."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sockets = [listen(int(port)) for port in ports]
    own = answer_at(Path(path))
    while True:
        asker, _ = own.accept()
        with asker:
            asker.settimeout(PATIENCE_SECONDS)
            try:
                said = "has the sockets" if give(asker, sockets) else ""
            except OSError as error:
                said = f"has not got the sockets: {error}"
        if said:
            print(f"HAProxy {said}", flush=True)  # noqa: T201 - the log of a container


if __name__ == "__main__":
    main(*sys.argv[1:])
