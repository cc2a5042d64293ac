"""Runs vLLM on one of the hosts of a replica, and ends it when another one is gone.

    python3 node.py ADDRESS MASTER_ADDRESS MASTER_PORT NODES RANK COMMAND...

A rank waits for ever for one that died, and the first one still says that it is healthy. All ranks
stay connected to the port that they met at (torch's TCPStore): once all were, and one is not any
more, this program ends with status 1, and Docker starts the container again. So do the others, and
they meet again. https://docs.pytorch.org/docs/stable/distributed.html#torch.distributed.TCPStore
One that is back at once is connected as well, but by none of the connections of before.

Gloo and NCCL look for an interface of their own unless they are told one, and may take one that
the other hosts do not reach: they are told the one that has ADDRESS.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 2.0
"""Between two looks at the connections; two in a row must miss one."""
STOP_SECONDS = 20
ESTABLISHED = "01"
SIOCGIFADDR = 0x8915
Place = tuple[str, int]


def connections(table: str) -> Iterator[tuple[Place, Place]]:
    """Both ends of every connection over IPv4, from what /proc/net/tcp or tcp6 says."""
    for line in table.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == ESTABLISHED:
            yield _place(local), _place(remote)


def peers(
    found: list[tuple[Place, Place]], master: Place, own: str, rank: int
) -> dict[str, set[tuple[Place, Place]]]:
    """Connections by the other host: to the first one, or of the others to that."""
    if rank:
        pairs = [pair for pair in found if pair[1] == master]
    else:
        pairs = [
            (local, remote)
            for local, remote in found
            if local[1] == master[1] and remote[0] not in {own, "127.0.0.1"}
        ]
    by_host: dict[str, set[tuple[Place, Place]]] = {}
    for local, remote in pairs:
        by_host.setdefault(remote[0], set()).add((local, remote))
    return by_host


class Company:
    """The other hosts of a replica, as the connections to them tell.

    Args:
        wanted: how many there are.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._known: dict[str, set[tuple[Place, Place]]] = {}
        self._stayed: set[str] = set()
        self._missed = 0

    def has_left(self, now: dict[str, set[tuple[Place, Place]]]) -> bool:
        """Whether one of them was there, and is not for the second time in a row."""
        lasting = {name for name, own in now.items() if own & self._known.get(name, set())}
        gone = self._stayed - lasting
        self._missed = self._missed + 1 if gone and len(self._stayed) >= self._wanted else 0
        self._stayed |= lasting
        # what is there together with one that is known belongs to it
        self._known |= {name: own for name, own in now.items() if name not in gone}
        return self._missed == 2


def interface_of(address: str) -> str | None:
    """Name of the network interface that has an IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                said = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            if socket.inet_ntoa(said[20:24]) == address:
                return name
    return None


def main(arguments: list[str]) -> int:
    """Run the command until it ends, or another host is gone."""
    own, master, port, nodes, rank, *command = arguments
    if name := interface_of(own):
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, name)
    running = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda sent, _: running.send_signal(sent))
    wanted = 1 if int(rank) else int(nodes) - 1
    if _all_stay(running, (master, int(port)), own, int(rank), wanted):
        return running.returncode
    sys.stderr.write("another host of this replica is gone: starting again\n")
    running.terminate()
    try:
        running.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        running.kill()
    return 1


def _all_stay(
    running: subprocess.Popen[bytes], master: Place, own: str, rank: int, wanted: int
) -> bool:
    """Wait until the command has ended by itself; false once another host is gone before."""
    company = Company(wanted)
    while running.poll() is None:
        if company.has_left(peers(_now(), master, own, rank)):
            return False
        time.sleep(SECONDS)
    return True


def _now() -> list[tuple[Place, Place]]:
    tables = (Path("/proc/net") / name for name in ("tcp", "tcp6"))
    return [each for table in tables if table.exists() for each in connections(table.read_text())]


def _place(text: str) -> Place:
    """Address and port; of IPv6 the last four bytes, which are IPv4's where it is mapped."""
    address, port = text.split(":")
    return socket.inet_ntoa(bytes.fromhex(address[-8:])[::-1]), int(port, 16)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
